"""The example runs and finds what it promises."""

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "label_movements.py"


def test_example__learns_movements(capsys: pytest.CaptureFixture[str]) -> None:
    assert runpy.run_path(str(EXAMPLE))["main"]() > 0.9
    assert "a jump is taken for: {" in capsys.readouterr().out
