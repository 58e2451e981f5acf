"""The example runs and finds what it promises."""

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "tag_names.py"


def test_example__learns_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert runpy.run_path(str(EXAMPLE))["main"]() > 0.95
    out = capsys.readouterr().out
    assert "0-6  Tidobu: person" in out
    assert "17-24  Remasoa: island" in out
