"""The example runs and finds what it promises."""

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "say_numbers.py"


def test_example__learns_to_say_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert runpy.run_path(str(EXAMPLE))["main"]() > 0.9
    assert "149: one hundred and forty nine" in capsys.readouterr().out
