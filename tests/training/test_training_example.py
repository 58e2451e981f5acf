import re
import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_your_own.py"


def test_example__learns_to_recall(capsys) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out, err = capsys.readouterr()
    assert int(re.match(r"(\d+)% right", out)[1]) >= 95
    assert err.startswith("training: step ")
