"""The benchmark of the scans: it checks before it measures, and says what it found."""

from typing import Any

import pytest
import torch

from benchmarks import scan
from lstmkit import nn
from lstmkit.ops import native_available

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")


def test_check__never_passes_a_layer_that_computes_something_else() -> None:
    class Wrong(nn.MinGRU):
        def forward(self, *arguments: Any, **options: Any) -> Any:
            output, state = super().forward(*arguments, **options)
            return (output, state) if self.form == "recurrent" else (1.001 * output, state)

    right, wrong = (scan.Contender("layer", make, lambda inputs, H: 1) for make in (nn.MinGRU, Wrong))
    torch.manual_seed(0)
    assert scan.check(right, 3) < 1e-5
    with pytest.raises(SystemExit, match="layer is wrong"):
        scan.check(wrong, 3)


def test_table__matches_rows() -> None:
    rows = [row for steps in (3, 5) for row in scan.measure(steps, 128, rounds=1, with_dx=True)]
    lines = list(scan.table(rows))
    assert len(lines) == 1 + len(scan.CONTENDERS)
    assert "T = 3" in lines[0]
    # Products of 3 gates with the input, beside those of 4 with input and state.
    assert lines[2].startswith("MinLSTM")
    assert lines[2].endswith("2.67x")


def test_page__matches_rows() -> None:
    rows = [row for inputs in (8, 128) for T in (3, 5) for row in scan.measure(T, inputs, rounds=1, with_dx=False)]
    lines = list(scan.page(rows))
    assert len(lines) == 2 * (3 + len(scan.CONTENDERS))
    assert [line for line in lines if line.startswith("| I = ")] == [lines[1], lines[len(lines) // 2 + 1]]
    # Products with 8 inputs and, of one head, with a memory of 128 by 128 written and read, beside those of an LSTM.
    assert "| MLSTM, 1 head | " in lines[6]
    assert f"| {4 * 128 * 136 / (514 * 8 + 2 * 128 * 128):.2f}x | cost per step" in lines[6]


def test_verdict__matches_goal_and_growth() -> None:
    def row(steps: int, cost: float, ratio: float) -> dict[str, Any]:
        return {"layer": "MinLSTM", "steps": steps, "microseconds_per_step": cost, "ratio": ratio}

    others = [row(1, 1.0, 1.0) | {"layer": name} for name, *_ in scan.CONTENDERS[2:]]
    falling, rising = [row(64, 9.0, 1.0), row(128, 8.0, 5.0)], [row(64, 9.0, 5.0), row(128, 10.0, 3.0)]
    assert next(scan.verdicts(falling + others)) == "MinLSTM: cost per step falls; 4x met with 5.00x"
    assert next(scan.verdicts(rising + others)) == "MinLSTM: cost per step rises; 4x missed with 3.00x"
