import re
import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "write_on.py"


def test_example__learns_the_manual(capsys) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    assert float(re.search(r"held back: ([\d.]+) of", out)[1]) < 15
    english, shuffled = map(float, re.search(r"takes ([\d.]+) bits .* shuffled ([\d.]+)", out).groups())
    assert english < shuffled - 1
