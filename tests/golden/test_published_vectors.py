"""Numbers that ONNX, Keras and TFLite publish for a plain LSTM, through the public layer.

Covered here: every plain LSTM among them. What belongs to later cells (GRU, simple RNN, peepholes,
coupled gates, layer normalisation, convolution) is counted, so that nothing is lost from sight.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lstmkit import nn
from lstmkit.spec import gate_permutation

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
PUBLISHED = {"keras/keras_layers.json": 1e-5, "onnx_node/rnn_node_tests.json": 1e-6, "tflite/lstm_float.json": 1e-5}

KERAS_KINDS = {"weight_ih": "kernel", "weight_hh": "recurrent", "bias_ih": "bias"}

Case = dict[str, Any]


def read(name: str) -> list[Case]:
    file = GOLDEN / name
    return json.loads(file.read_text()) if file.exists() else []


def cases(name: str, plain: Any) -> Any:
    """The plain LSTM cases of a file, or one skipped stand-in where the file is absent."""
    found = [pytest.param(case, id=case["id"]) for case in read(name) if plain(case)]
    reason = f"the published vectors {name} are not on this machine"
    return pytest.mark.parametrize(
        "case", found or [pytest.param({}, id="absent", marks=pytest.mark.skip(reason=reason))]
    )


def is_plain_keras(case: Case) -> bool:
    return "LSTM" in (case["layer"]["class"], case["layer"].get("layer", {}).get("class"))


def is_plain_onnx(case: Case) -> bool:
    return case["op"] == "LSTM" and "P" not in case["inputs"]


def is_plain_tflite(case: Case) -> bool:
    flags = case["flags"]
    odd = ("use_cifg", "use_peephole", "use_projection_bias", "layer_norm", "is_layer_norm")
    clipped = any(float(flags.get(name, 0)) for name in ("cell_clip", "proj_clip"))
    return not clipped and not any(flags.get(name) for name in odd)


def close(actual: Tensor, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(actual.detach(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=tolerance)


def keras_layer(layer: Case, input_size: int, bidirectional: bool) -> nn.LSTM:
    units, use_bias = layer["args"][0], layer.get("use_bias", True)
    ours = nn.LSTM(input_size, units, bias=use_bias, batch_first=True, bidirectional=bidirectional, dtype=torch.float64)
    constants = {
        kind: layer[f"{kind}_initializer"]["args"][0]
        for kind in ("kernel", "recurrent", "bias")
        if f"{kind}_initializer" in layer
    }
    with torch.no_grad():
        for name, value in ours.named_parameters():
            kind = KERAS_KINDS.get(name.partition("_l0")[0], "zero")
            value.fill_(constants.get(kind, 0.0))
            if kind == "bias" and layer.get("unit_forget_bias", True):
                value[units : 2 * units] = 1.0
    return ours


@cases("keras/keras_layers.json", is_plain_keras)
def test_layer__matches_keras(case: Case) -> None:
    layer, call = case["layer"], case["call"]
    bidirectional = layer["class"] == "Bidirectional"
    inner = layer["layer"] if bidirectional else layer
    shape = case["x_shape"]
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape) * float(
        case["x_rule"].partition("scale=")[2]
    )
    ours = keras_layer(inner, shape[2], bidirectional)
    mask = torch.tensor(call["mask"]) if "mask" in call else torch.ones(shape[:2], dtype=torch.bool)
    if inner.get("go_backwards"):
        x, mask = x.flip(1), mask.flip(1)
    assert (mask.cummin(1).values == mask).all(), "the mask is not padding at the end"
    state = None
    if "initial_state" in call:
        values = torch.tensor(call["initial_state"], dtype=torch.float64)
        state = values[0::2].contiguous(), values[1::2].contiguous()
    for _ in range(case["n_calls_with_carried_state"]):
        output, state = ours(x, state, lengths=mask.sum(1))
    close(keras_output(case, inner, output, state, mask), case["expected"], PUBLISHED["keras/keras_layers.json"])


def keras_output(case: Case, inner: Case, output: Tensor, state: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    h, c = state
    index = case["output_index"]
    if inner.get("return_sequences"):
        filler = torch.zeros_like(output) if inner.get("zero_output_for_mask") else h[0][:, None]
        return torch.where(mask[:, :, None], output, filler)[index]
    last = torch.cat([*h], 1)
    return [last, h[0], c[0], *([h[1], c[1]] if len(h) == 2 else [])][index or 0]


@cases("onnx_node/rnn_node_tests.json", is_plain_onnx)
def test_layer__matches_onnx(case: Case) -> None:
    inputs = {name: torch.tensor(value, dtype=torch.float64) for name, value in case["inputs"].items()}
    batch_first = case["attributes"].get("layout", 0) == 1
    hidden = case["attributes"]["hidden_size"]
    ours = nn.LSTM(inputs["X"].shape[2], hidden, bias="B" in inputs, batch_first=batch_first, dtype=torch.float64)

    def rows(value: Tensor) -> Tensor:
        blocks = value.chunk(4)
        return torch.cat([blocks[k] for k in gate_permutation("onnx")])

    parameters = {"weight_ih_l0": rows(inputs["W"][0]), "weight_hh_l0": rows(inputs["R"][0])}
    if "B" in inputs:
        first, second = inputs["B"][0].chunk(2)
        parameters |= {"bias_ih_l0": rows(first), "bias_hh_l0": rows(second)}
    ours.load_state_dict(parameters)
    output, (h, _) = ours(inputs["X"])
    expected = case["expected"]
    tolerance = PUBLISHED["onnx_node/rnn_node_tests.json"]
    close(h.transpose(0, 1) if batch_first else h, expected["Y_h"], tolerance)
    if "Y" in expected:
        close(output.unsqueeze(2 if batch_first else 1), expected["Y"], tolerance)


@cases("tflite/lstm_float.json", is_plain_tflite)
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
    close(output, case["expected"]["y_TBO"], PUBLISHED["tflite/lstm_float.json"])


@pytest.mark.skipif(not GOLDEN.exists(), reason="the published vectors are not on this machine")
@pytest.mark.parametrize(
    ("name", "plain", "covered", "later"),
    [
        (
            "keras/keras_layers.json",
            is_plain_keras,
            23,
            {"Bidirectional": 7, "ConvLSTM1D": 1, "ConvLSTM2D": 1, "ConvLSTM3D": 1, "GRU": 17, "SimpleRNN": 14},
        ),
        ("onnx_node/rnn_node_tests.json", is_plain_onnx, 3, {"GRU": 4, "LSTM": 1, "RNN": 4}),
        ("tflite/lstm_float.json", is_plain_tflite, 3, {"tflite": 9}),
    ],
)
def test_golden_cases__equals_count(name: str, plain: Any, covered: int, later: dict[str, int]) -> None:
    found = read(name)
    assert sum(plain(case) for case in found) == covered
    kinds = [case.get("op") or case.get("layer", {}).get("class", "tflite") for case in found if not plain(case)]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == later
