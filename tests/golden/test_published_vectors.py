"""The numbers that TFLite publishes for a plain LSTM, through the public layer; those for variants are counted."""

import pytest
import torch
from helpers.published import GOLDEN, Case, cases, read

from lstmkit import nn

FILE = "tflite/lstm_float.json"
TOLERANCE = 1e-5


def is_plain_tflite(case: Case) -> bool:
    flags = case["flags"]
    odd = ("use_cifg", "use_peephole", "use_projection_bias", "layer_norm", "is_layer_norm")
    clipped = any(float(flags.get(name, 0)) for name in ("cell_clip", "proj_clip"))
    return not clipped and not any(flags.get(name) for name in odd)


@cases(FILE, is_plain_tflite)
def test_layer__matches_tflite(case: Case) -> None:
    weights = {name: torch.tensor(value, dtype=torch.float64) for name, value in case["weights"].items()}
    ours = nn.LSTM(case["dims"]["n_input"], case["dims"]["n_cell"], dtype=torch.float64)
    stacked = {kind: torch.cat([weights[f"{kind}_{gate}"] for gate in "ifco"]) for kind in "WRb"}
    ours.load_state_dict(
        {
            "weight_ih_l0": stacked["W"],
            "weight_hh_l0": stacked["R"],
            "bias_ih_l0": stacked["b"],
            "bias_hh_l0": torch.zeros_like(stacked["b"]),
        }
    )
    output, _ = ours(torch.tensor(case["x_TBI"], dtype=torch.float64))
    expected = torch.tensor(case["expected"]["y_TBO"], dtype=torch.float64)
    torch.testing.assert_close(output.detach(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the published vectors are not on this machine")
def test_tflite_cases__equal_count() -> None:
    plain = [is_plain_tflite(case) for case in read(FILE)]
    assert (plain.count(True), plain.count(False)) == (3, 9)
