"""The numbers that Keras's own tests expect of its layers, by way of a configuration and arrays."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.published import GOLDEN, Case, cases, read

from lstmkit import interop, nn

FILE = "keras/keras_layers.json"
TOLERANCE = 1e-5  # Keras's own


def described(layer: Case, input_size: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A layer as Keras serialises it, and its arrays; the cases have constant initialisers."""
    kind, units = layer["class"], layer["filters"] if "filters" in layer else layer["args"][0]
    rows = {"GRU": 3, "SimpleRNN": 1}.get(kind, 4) * units
    space = (layer["kernel_size"],) * int(kind[-2]) if kind.startswith("Conv") else ()
    shapes: dict[str, tuple[int, ...]] = {"kernel": (*space, input_size, rows), "recurrent": (*space, units, rows)}
    if layer.get("use_bias", True):
        shapes["bias"] = (2, rows) if kind == "GRU" and layer.get("reset_after", True) else (rows,)
    arrays = {name: np.full(shape, layer[f"{name}_initializer"]["args"][0]) for name, shape in shapes.items()}
    if "LSTM" in kind and "bias" in arrays and layer.get("unit_forget_bias", True):
        arrays["bias"][units : 2 * units] = 1.0
    return {"class_name": kind, "config": {**layer, "units": units}}, [*arrays.values()]


def build(layer: Case, input_size: int) -> nn.KerasCall:
    if layer["class"] != "Bidirectional":
        whole, arrays = described(layer, input_size)
        taken = interop.from_keras_config(layer["class"], whole["config"], [arrays])
    else:
        forward, first = described(layer["layer"], input_size)
        backward, second = described(layer.get("backward_layer", layer["layer"]), input_size)
        config = {**layer, "layer": forward, "backward_layer": backward}
        taken = interop.from_keras_config("Bidirectional", config, [first, second])
    return nn.KerasCall(nn.build(taken.spec, taken.parameters), **taken.call)


@cases(FILE, lambda case: True)
def test_layer__matches_keras_vectors(case: Case) -> None:
    shape, scale = case["x_shape"], float(case["x_rule"].partition("scale=")[2])
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape) * scale
    ours = build(case["layer"], shape[-1])
    state = case["call"].get("initial_state")
    if state is not None:
        state = torch.tensor(state, dtype=torch.float64)
        state = [*state] if state.dim() == 3 else state
    mask = torch.tensor(case["call"]["mask"]) if "mask" in case["call"] else None
    for _ in range(case["n_calls_with_carried_state"]):
        result = ours(x, state, mask)
    # Of a list of outputs and states, one; of a batch, one row.
    result = result if case["output_index"] is None else result[case["output_index"]]
    expected = torch.tensor(case["expected"], dtype=torch.float64)
    torch.testing.assert_close(result.detach(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the published vectors are not on this machine")
def test_keras_cases__equal_count() -> None:
    assert len(read(FILE)) == 64
