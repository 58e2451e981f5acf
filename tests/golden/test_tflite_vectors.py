"""Numbers that TensorFlow Lite publishes for its LSTM, through the public layer; Keras's and ONNX's stand beside it."""

from typing import Any

import pytest
import torch
from helpers.published import GOLDEN, Case, cases, read
from torch import Tensor

from lstmkit import nn

FILE = "tflite/lstm_float.json"
TOLERANCE = 1e-5

# TensorFlow Lite's letters of the gates in our order; its c is the candidate g.
LETTERS = {"i": "i", "f": "f", "g": "c", "o": "o"}


def tflite_layer(case: Case) -> nn.LSTM:
    """Its coupled input gate is 1 - f, and its layer normalisation is per gate."""
    dims, flags, weights = case["dims"], case["flags"], case["weights"]
    options: dict[str, Any] = {
        "input_gate": "coupled" if flags["use_cifg"] else "free",
        "peepholes": "".join(gate for gate in "ifo" if f"p_{gate}" in weights),
        "layer_norm": "per_gate" if any(flags.get(name) for name in ("layer_norm", "is_layer_norm")) else None,
        "cell_clip": float(flags.get("cell_clip", 0)) or None,
        "proj_size": dims["n_output"] if "proj_W" in weights else 0,
    }
    if options["proj_size"]:
        options |= {"proj_bias": "proj_b" in weights, "proj_clip": float(flags.get("proj_clip", 0)) or None}
    layer = nn.LSTM(dims["n_input"], dims["n_cell"], dtype=torch.float64, **options)
    layer.load_state_dict(tflite_parameters(layer, weights))
    return layer


def tflite_parameters(layer: nn.LSTM, weights: dict[str, Any]) -> dict[str, Tensor]:
    def join(kind: str, gates: tuple[str, ...]) -> Tensor:
        return torch.cat([torch.tensor(weights[f"{kind}_{LETTERS[gate]}"], dtype=torch.float64) for gate in gates])

    own, variant = layer.spec.variant.gates_with_weights, layer.spec.variant
    found = {"weight_ih": join("W", own), "weight_hh": join("R", own), "bias_ih": join("b", own)}
    found["bias_hh"] = torch.zeros_like(found["bias_ih"])
    if variant.peepholes:
        found["weight_ch"] = join("p", variant.peephole_gates)
    if variant.layer_norm:
        found["gain_gates"] = join("ln", own)
    for name, kind in (("weight_hr", "proj_W"), ("bias_hr", "proj_b")):
        if kind in weights:
            found[name] = torch.tensor(weights[kind], dtype=torch.float64)
    return {f"{name}_l0": value for name, value in found.items()}


@cases(FILE, lambda case: True)
def test_layer__matches_tflite(case: Case) -> None:
    output, _ = tflite_layer(case)(torch.tensor(case["x_TBI"], dtype=torch.float64))
    expected = torch.tensor(case["expected"]["y_TBO"], dtype=torch.float64)
    torch.testing.assert_close(output.detach(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the published vectors are not on this machine")
def test_tflite_cases__equal_count() -> None:
    """Each option meets its numbers in some of the twelve cases."""
    layers = [tflite_layer(case).spec.variant for case in read(FILE)]
    counts = {
        name: sum(bool(getattr(variant, name)) for variant in layers)
        for name in ("peepholes", "layer_norm", "proj_bias")
    }
    coupled = sum(variant.input_gate == "coupled" for variant in layers)
    assert (len(layers), coupled, counts) == (12, 5, {"peepholes": 9, "layer_norm": 3, "proj_bias": 1})
