"""ONNX's operators in and out, with ONNX Runtime as the oracle."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import peers

from lstmkit import interop, nn
from lstmkit.interop.onnx_nodes import INPUTS
from lstmkit.interop.onnx_options import ATTRIBUTES, DEFAULT_ACTIVATIONS
from lstmkit.spec import CellSpec, OptionError, ShapeError, Variant

onnx = pytest.importorskip("onnx", reason="onnx, which builds the graphs of this test, is not installed")
runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime, the oracle of this test, is not installed")

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# What an operator can say beside its sizes.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "LSTM": [
        {},
        {"clip": 0.3},
        {"input_forget": 1},
        {"activations": ["HardSigmoid", "Softsign", "Relu"]},
        {
            "activations": ["HardSigmoid", "ScaledTanh", "Affine"],
            "activation_alpha": [0.3, 0.7, 1.0],
            "activation_beta": [0.4, 1.1, 0.0],
        },
        {
            "activations": ["Affine", "Elu", "LeakyRelu"],
            "activation_alpha": [0.25, 0.5, 0.2],
            "activation_beta": [0.5],
            "clip": 1.0,
        },
        {"activations": ["Softplus", "ThresholdedRelu", "Tanh"], "activation_alpha": [0.3], "clip": 0.5},
        {"activations": ["Sigmoid", "LeakyRelu", "Elu"]},
    ],
    "GRU": [
        {},
        {"activations": ["Affine", "Elu"], "activation_alpha": [0.25, 0.5], "activation_beta": [0.5], "clip": 1.0},
        {"activations": ["HardSigmoid", "Softplus"], "linear_before_reset": 1},
        {"linear_before_reset": 1},
        {"clip": 0.3},
        {"clip": 0.4, "linear_before_reset": 1},
        {"activations": ["HardSigmoid", "Softsign"]},
        {
            "activations": ["HardSigmoid", "ScaledTanh"],
            "activation_alpha": [0.3, 0.7],
            "activation_beta": [0.4, 1.1],
            "linear_before_reset": 1,
        },
    ],
    "RNN": [
        {},
        {"activations": ["Relu"]},
        {"clip": 0.3},
        {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0], "clip": 0.5},
        {"activations": ["Sigmoid"]},
        {"activations": ["Softplus"], "clip": 3.0},
        {"activations": ["Elu"], "activation_alpha": [0.5]},
        {"activations": ["LeakyRelu"]},
        {"activations": ["ThresholdedRelu"], "activation_alpha": [0.1]},
        {"activations": ["Affine"], "activation_alpha": [0.3], "activation_beta": [-0.1]},
        {"activations": ["HardSigmoid"], "activation_alpha": [0.3], "activation_beta": [0.4]},
    ],
}
KINDS = [
    pytest.param(name, options, id=f"{name}-{[*options.items()]}"[:60])
    for name, all_ in OPTIONS.items()
    for options in all_
]
T, B, I, H = 5, 3, 4, 3
# Those that changed the operators: the oldest that is read, that of layout, and the last one.
OPSETS = (7, 14, 22)
generator = np.random.default_rng(3)


def draw(*shape: int) -> np.ndarray:
    return generator.normal(size=shape).astype(np.float32)


def weights(operator: str, directions: int, *, bias: bool = True) -> dict[str, np.ndarray]:
    rows = GATES[operator] * H
    arrays = {"W": draw(directions, rows, I), "R": draw(directions, rows, H)}
    return {**arrays, "B": draw(directions, 2 * rows)} if bias else arrays


def run(operator: str, attributes: dict[str, Any], inputs: dict[str, np.ndarray], opset: int = 14) -> list[np.ndarray]:
    """The node in ONNX Runtime: Y, Y_h and, of an LSTM, Y_c."""
    outputs = ["Y", "Y_h", *(["Y_c"] if operator == "LSTM" else [])]
    names = [name if name in inputs else "" for name in INPUTS[operator]]
    node = onnx.helper.make_node(operator, names, outputs, **attributes)
    kinds = {np.dtype(np.float32): onnx.TensorProto.FLOAT, np.dtype(np.int32): onnx.TensorProto.INT32}
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info(n, kinds[a.dtype], a.shape) for n, a in inputs.items()],
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)


def ours(operator: str, attributes: dict[str, Any], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    taken = interop.from_onnx_node(operator, attributes, {k: v for k, v in inputs.items() if k in "WRBP"})
    call = nn.OnnxCall(nn.build(taken.spec, taken.parameters), **taken.call)
    given = {name: torch.from_numpy(inputs[name]) for name in inputs if name not in "WRBP"}
    return [value.detach().numpy() for value in call(**given)]


def close(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(actual) == len(expected)
    for mine, theirs in zip(actual, expected, strict=True):
        peers.close(mine, theirs)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize(("operator", "options"), KINDS)
def test_node__matches_onnxruntime(
    operator: str, options: dict[str, Any], bias: bool, direction: str, opset: int
) -> None:
    directions = 1 + (direction == "bidirectional")
    inputs = {"X": draw(T, B, I), **weights(operator, directions, bias=bias)}
    attributes: dict[str, Any] = {"hidden_size": H, "direction": direction, **options}
    for name in ("activations", "activation_alpha", "activation_beta"):
        if name in options:
            attributes[name] = options[name] * directions
    close(ours(operator, attributes, inputs), run(operator, attributes, inputs, opset))
    if operator == "LSTM":
        inputs["P"] = draw(directions, 3 * H)
        close(ours(operator, attributes, inputs), run(operator, attributes, inputs, opset))
    inputs["sequence_lens"] = np.array([2, T, 4], np.int32)
    inputs["initial_h"] = draw(directions, B, H)
    if operator == "LSTM":
        inputs["initial_c"] = draw(directions, B, H)
    close(ours(operator, attributes, inputs), run(operator, attributes, inputs, opset))


@pytest.mark.parametrize("opset", range(7, onnx.defs.onnx_opset_version() + 1))
@pytest.mark.parametrize("operator", GATES)
def test_operator__equals_schema_of_onnx(operator: str, opset: int) -> None:
    """No opset up to the newest that onnx knows has an attribute or input of which nothing is known here."""
    schema = onnx.defs.get_schema(operator, opset)
    assert set(schema.attributes) <= ATTRIBUTES
    assert tuple(value.name for value in schema.inputs) == INPUTS[operator]
    assert schema.since_version in OPSETS


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("Elu", "elu"),
        ("LeakyRelu", "leaky_relu"),
        ("ThresholdedRelu", "thresholded_relu"),
        ("HardSigmoid", ("hard_sigmoid", 0.2, 0.5)),
    ],
)
def test_activation_without_constants__equals_schema_of_onnx(name: str, activation: Any) -> None:
    """They are those of the operator of that name, says ONNX; ONNX Runtime takes 0 as ThresholdedRelu's alpha."""
    arrays = weights("RNN", 1)
    found = interop.from_onnx_node("RNN", {"activations": [name]}, arrays).spec.nonlinearity
    defaults = [onnx.defs.get_schema(name).attributes.get(constant) for constant in ("alpha", "beta")]
    given = {f"activation_{a.name}": [a.default_value.f] for a in defaults if a is not None}
    assert found == interop.from_onnx_node("RNN", {"activations": [name], **given}, arrays).spec.nonlinearity
    assert found == activation


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("operator", GATES)
def test_batch_first_node__matches_time_first(operator: str, direction: str) -> None:
    """``layout=1`` moves axes and nothing else; ONNX Runtime refuses it, so the oracle is ``layout=0``."""
    directions = 1 + (direction == "bidirectional")
    inputs = {"X": draw(T, B, I), **weights(operator, directions), "sequence_lens": np.array([2, T, 4], np.int32)}
    inputs["initial_h"] = draw(directions, B, H)
    turned = {**inputs, "X": inputs["X"].swapaxes(0, 1), "initial_h": inputs["initial_h"].swapaxes(0, 1)}
    Y, *states = run(operator, {"hidden_size": H, "direction": direction}, inputs)
    expected = [Y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states)]
    close(ours(operator, {"hidden_size": H, "direction": direction, "layout": 1}, turned), expected)


SPECS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "LSTM-peepholes": {"variant": Variant(peepholes="ifo", gate_clip=0.5)},
    "LSTM-coupled": {"variant": Variant(forget_gate="coupled", peepholes="io")},
    "LSTM-activations": {
        "variant": Variant(
            gate_activation="hard_sigmoid", candidate_activation="softsign", cell_activation=("tanh", 0.5, 2.0)
        )
    },
    "GRU": {},
    "GRU-before": {"reset_after": False},
    "GRU-clip": {"reset_after": False, "variant": Variant(gate_clip=0.4)},
    "GRU-activations": {"variant": Variant(gate_activation="hard_sigmoid", candidate_activation=("tanh", 0.5, 2.0))},
    "RNN": {},
    "RNN-relu": {"nonlinearity": "relu", "variant": Variant(gate_clip=0.4)},
    "RNN-scaled": {"nonlinearity": ("tanh", 0.5, 2.0)},
    "RNN-thresholded": {"nonlinearity": "thresholded_relu"},
    "RNN-affine": {"nonlinearity": ("affine", 0.3, -0.1)},
    "LSTM-elu": {
        "variant": Variant(candidate_activation=("elu", 0.1), cell_activation=("leaky_relu", 0.3), gate_clip=1.5)
    },
}


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", SPECS)
def test_stack__roundtrips_through_nodes(kind: str, bias: bool, bidirectional: bool) -> None:
    cell = interop.ONNX_CELLS[kind.partition("-")[0]]
    spec = CellSpec(I, H, num_layers=2, bias=bias, bidirectional=bidirectional, cell=cell, **SPECS[kind])
    parameters = {name: draw(*shape) for name, shape in spec.parameter_shapes().items()}
    x = draw(T, B, I)
    expected = nn.build(spec, parameters)(torch.from_numpy(x))[0].detach().numpy()
    for number, (name, attributes, arrays) in enumerate(interop.to_onnx_nodes(interop.Layer(spec, parameters))):
        Y = run(name, attributes, {"X": x, **arrays})[0]
        x = np.ascontiguousarray(Y.transpose(0, 2, 1, 3).reshape(T, B, -1))
        back = interop.from_onnx_node(name, attributes, arrays).parameters
        for key, array in back.items():
            np.testing.assert_array_equal(array, parameters[key.replace("_l0", f"_l{number}")])
    peers.close(x, expected)


@pytest.mark.parametrize("operator", GATES)
def test_default_activations__equal_being_left_out(operator: str) -> None:
    names = [name.capitalize() for name in DEFAULT_ACTIVATIONS[operator]] * 2
    attributes = {"direction": "bidirectional", "activations": names, "activation_alpha": [], "clip": 0.0}
    inputs = {"X": draw(T, B, I), **weights(operator, 2)}
    without = ours(operator, {"direction": "bidirectional"}, inputs)
    for mine, expected in zip(ours(operator, attributes, inputs), without, strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize(
    ("operator", "attributes", "said"),
    [
        ("Conv", {}, "no ONNX operator 'Conv' can be converted"),
        ("LSTM", {"direction": "sideways"}, "direction must be one of forward, reverse, bidirectional, not 'sideways'"),
        ("LSTM", {"output_sequence": 1}, "the attribute 'output_sequence' is not one of opset 7 or later"),
        ("LSTM", {"layout": 2}, "layout must be 0 or 1, not 2"),
        ("LSTM", {"activations": [b"Sigmoid", b"Tanh"]}, "expected 3 activations, not 2"),
        ("GRU", {"activations": ["Sigmoid", "Selu"]}, "GRU: the activation 'Selu' cannot be converted; known: Sigmoid"),
        ("RNN", {"clip": -1.0}, "gate_clip must be None or a bound above 0, not -1.0"),
        (
            "LSTM",
            {"activations": ["Sigmoid", "Elu", "Tanh"], "activation_alpha": [float("nan")]},
            "candidate_activation must be a name, or a name with its constants, not",
        ),
        (
            "RNN",
            {"activations": ["Affine"], "activation_alpha": [1.0]},
            "Affine has no default in ONNX; give activation_alpha",
        ),
        ("RNN", {"activations": ["ScaledTanh"]}, "ScaledTanh has no default in ONNX"),
        (
            "RNN",
            {"direction": "bidirectional", "activations": ["Tanh", "Relu"]},
            "the activations .'Tanh', 'Relu'. differ between the directions",
        ),
        ("LSTM", {"activations": ["Sigmoid", "Gelu", "Tanh"]}, "the activation 'Gelu' cannot be converted; known"),
    ],
)
def test_node__rejects_what_no_cell_has(operator: str, attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        interop.from_onnx_node(operator, attributes, weights("LSTM", 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"W": draw(12, I)}, "W must have 3 dimensions, the first of 1 .directions., not the shape"),
        ({"W": draw(1, I, 12)}, "the input weights must have the shape .12, 12. with the gates i, o, f, g"),
        ({"R": draw(1, 9, H)}, "the recurrent weights must have the shape .12, 3."),
        ({"R": draw(1, 12, H + 1)}, "hidden_size is 3, but R has the shape"),
        ({"B": draw(1, 12)}, "the bias must have the shape .24,. with the gates i, o, f, g, not .12,."),
        ({"W": draw(2, 12, I)}, "the first of 1 .directions."),
        ({"R": None}, "the weights R are missing"),
        ({"P": draw(1, 12)}, "P must have the shape .D, 9. with the gates i, o, f"),
        ({"P": draw(9)}, "P must have 2 dimensions"),
    ],
)
def test_node__rejects_other_shapes(change: dict[str, Any], said: str) -> None:
    arrays = {name: array for name, array in {**weights("LSTM", 1), **change}.items() if array is not None}
    with pytest.raises(ShapeError, match=said):
        interop.from_onnx_node("LSTM", {"hidden_size": H}, arrays)


@pytest.mark.parametrize(
    "variant",
    [Variant(input_gate="coupled"), Variant(forget_gate="one"), Variant(peepholes="o"), Variant(layer_norm="per_gate")],
    ids=lambda variant: str(variant.changes()),
)
def test_variant_that_onnx_lacks__is_refused(variant: Variant) -> None:
    spec = CellSpec(I, H, variant=variant)
    layer = interop.Layer(spec, {name: draw(*shape) for name, shape in spec.parameter_shapes().items()})
    with pytest.raises(OptionError, match="ONNX's LSTM has not all options of this stack: {'"):
        interop.to_onnx_nodes(layer)
    with pytest.raises(OptionError, match="Keras has no layer for the cell 'lstm' with the options of this stack"):
        interop.to_keras(layer)
    with pytest.raises(OptionError, match="torch.nn.LSTM has not all options of this stack"):
        interop.to_torch(layer)
    with pytest.raises(OptionError, match="haste has an LSTM"):
        interop.to_haste(layer)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("operator", "options"), KINDS)
def test_node__roundtrips(operator: str, options: dict[str, Any], direction: str, layout: int) -> None:
    """What was read is written again: every attribute, every array, and with them ONNX Runtime's numbers."""
    directions = 1 + (direction == "bidirectional")
    inputs = weights(operator, directions)
    if operator == "LSTM" and "input_forget" not in options:
        inputs["P"] = draw(directions, 3 * H)
    repeated = {name: value * directions if isinstance(value, list) else value for name, value in options.items()}
    attributes: dict[str, Any] = {"hidden_size": H, "direction": direction, **repeated}
    attributes |= {"layout": 1} if layout else {}
    ((back, written, arrays),) = interop.to_onnx_nodes(interop.from_onnx_node(operator, attributes, inputs))
    assert back == operator
    assert written.get("layout", 0) == layout
    written.pop("layout", None)
    attributes.pop("layout", None)
    x = {"X": draw(T, B, I)}
    for mine, expected in zip(run(operator, written, x | arrays), run(operator, attributes, x | inputs), strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_activation_that_onnx_lacks__is_refused() -> None:
    spec = CellSpec(I, H, cell="gru", variant=Variant(candidate_activation="gelu"))
    layer = interop.Layer(spec, {name: draw(*shape) for name, shape in spec.parameter_shapes().items()})
    with pytest.raises(OptionError, match="ONNX has no activation 'gelu'; it has: Sigmoid, .*Affine"):
        interop.to_onnx_nodes(layer)


def test_to_onnx__rejects_call_that_would_be_lost() -> None:
    taken = interop.from_onnx_node("GRU", {}, weights("GRU", 1))
    with pytest.raises(OptionError, match="ONNX has no go_backwards=True"):
        interop.to_onnx_nodes(interop.Layer(taken.spec, taken.parameters, {"go_backwards": True}))


def test_projection__is_refused() -> None:
    layer = interop.from_torch(torch.nn.LSTM(3, 4, proj_size=2))
    with pytest.raises(OptionError, match="ONNX's LSTM has no projection .proj_size=2."):
        interop.to_onnx_nodes(layer)
    with pytest.raises(OptionError, match="Keras has no layer with a projection"):
        interop.to_keras(layer)
