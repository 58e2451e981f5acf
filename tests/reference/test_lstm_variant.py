"""The options of the LSTM on numbers that were worked by hand.

One unit, one step, x = 1, h = 2, c = 4, with gates of 0.25 z + 0.5 and a linear candidate and output:

    z = (1, 0, 2, 0)   i = 0.75   f = 0.5   g = 2   o = 0.5   c' = 0.5 * 4 + 0.75 * 2 = 3.5   h' = 0.5 * 3.5 = 1.75
"""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from helpers.plain_cells import curve
from helpers.specs import make_spec

from lstmkit.reference import LSTM_VARIANT, Masks, run_sequence
from lstmkit.reference.activations import activate
from lstmkit.spec import ACTIVATIONS, LAYER_NORMS, CellSpec, activation_constants

LINEAR = {
    "gate_activation": ("hard_sigmoid", 0.25, 0.5),
    "candidate_activation": "identity",
    "cell_activation": "identity",
}
ROWS = {"weight_ih": "0 1 1 0", "weight_hh": "1 0 0.5 -0.5", "bias_ih": "-1 -1 0 1", "bias_hh": "0 0 0 0"}
H, C = 2.0, 4.0


def by_hand(*options: str) -> pytest.MarkDecorator:
    """The options that a test has by hand, as the table of the family names them."""
    return pytest.mark.square("by hand", *(f"lstm {name}".strip() for name in options), engine="reference")


def parameters(spec: CellSpec) -> dict[str, Any]:
    """The rows above of the gates that have weights, for each unit of each."""
    kept = ["ifgo".index(gate) for gate in spec.variant.gates_with_weights]
    rows = {name: np.array(text.split(), float)[kept].repeat(spec.hidden_size) for name, text in ROWS.items()}
    return {name: value[:, None] if "weight" in name else value for name, value in rows.items()}


def step(options: dict[str, Any], extra: dict[str, Any], *, masks: Masks | None = None, **sizes: int) -> list[Any]:
    """The states after the step; ``extra`` are further parameters."""
    spec = make_spec(**({"input_size": 1, "hidden_size": 1} | LINEAR | sizes | options))
    own = parameters(spec) | {name: np.array(value, float) for name, value in extra.items()}
    state = [np.array([[H]]), np.full((1, spec.hidden_size), C), np.array([[1.0, 0.0, 1.0]])]
    state = state[: len(spec.state_shapes())]
    w = LSTM_VARIANT.collect(spec, own)
    w = w if masks is None else w._replace(masks=masks)
    prepared = LSTM_VARIANT.prepare(np, np.ones((1, 1, 1)), w)
    _, new, _ = LSTM_VARIANT.step(np, prepared[0], tuple(state), w)
    return [value[0].tolist() for value in new]


@by_hand("", "no-forget-gate", "no-input-gate", "no-output-gate", "f-coupled", "i-coupled")
@by_hand("peepholes", "peephole-f", "gate-clip", "cell-clip", "zoneout-h", "zoneout-c")
@by_hand("linear-input", "linear-output")
@pytest.mark.parametrize(
    ("options", "extra", "h", "c"),
    [
        ({}, {}, 1.75, 3.5),
        ({"forget_gate": "one"}, {}, 2.75, 5.5),
        ({"input_gate": "one"}, {}, 2.0, 4.0),
        ({"output_gate": "one"}, {}, 3.5, 3.5),
        ({"forget_gate": "coupled"}, {}, 1.25, 2.5),  # f = 0.25
        ({"input_gate": "coupled"}, {}, 1.5, 3.0),  # i = 0.5
        # z_i = 1 - 0.25 * 4 = 0, z_f = 0.5 * 4 = 2, c' = 1 * 4 + 0.5 * 2 = 5, z_o = 0.2 * 5 = 1
        ({"peepholes": "ifo"}, {"weight_ch": [-0.25, 0.5, 0.2]}, 3.75, 5.0),
        ({"peepholes": "f"}, {"weight_ch": [0.5]}, 2.75, 5.5),  # z_f = 0.5 * 4 = 2, f = 1
        ({"peepholes": "oi"}, {"weight_ch": [-0.25, 0.25]}, 0.6875 * 3, 3.0),  # z_o = 0.25 * 3 = 0.75
        ({"cell_clip": 3.0}, {}, 1.5, 3.0),
        ({"gate_clip": 0.5}, {}, 1.15625, 2.3125),  # i = 0.625, g = 0.5
        ({"zoneout_h": 0.25}, {}, 1.8125, 3.5),  # 0.25 * 2 + 0.75 * 1.75
        ({"zoneout_c": 0.5}, {}, 1.75, 3.75),  # h' is made of 3.5
    ],
    ids=str,
)
def test_step__equals_hand_worked(options: dict[str, Any], extra: dict[str, Any], h: float, c: float) -> None:
    assert step(options, extra) == [[h], [c]]


@by_hand("gate-recurrence")
def test_gate_recurrence__equals_hand_worked() -> None:
    """The gates (1, 0, 1) before: z_i = 1 - 1 = 0, z_f = 0 + 2 = 2, c' = 4 + 0.5 * 2 = 5."""
    weights = [[0, 0, -1], [2, 0, 0], [0, 0, 0]]
    assert step({"full_gate_recurrence": True}, {"weight_gates": weights}) == [[2.5], [5.0], [0.5, 1.0, 0.5]]


@by_hand("projection", "proj-bias", "proj-clip")
@pytest.mark.parametrize(
    ("options", "extra", "h"),
    [
        ({}, {}, 3.5),
        ({"proj_bias": True}, {"bias_hr": [-1]}, 2.5),
        ({"proj_clip": 3.0}, {}, 3.0),
        ({"proj_bias": True, "proj_clip": 2.0}, {"bias_hr": [-1]}, 2.0),
    ],
    ids=str,
)
def test_projection__equals_hand_worked(options: dict[str, Any], extra: dict[str, Any], h: float) -> None:
    """Two units of 1.75 each, added."""
    sizes = {"hidden_size": 2, "proj_size": 1}
    assert step({"cell_clip": 9.0} | options, {"weight_hr": [[1, 1]]} | extra, **sizes) == [[h], [3.5, 3.5]]


@by_hand("state_dropout", "candidate_dropout", "zoneout-h-drawn", "zoneout-c-drawn")
@pytest.mark.parametrize(
    ("masks", "h", "c"),
    [
        (Masks(candidate=np.full((1, 1, 1), 2.0)), 2.5, 5.0),  # c' = 2 + 0.75 * 2 * 2
        (Masks(state=np.zeros((1, 1))), 1.6875, 2.25),  # z = (-1, 0, 1, 1)
        (Masks(zoneout_h=np.ones((1, 1, 1), bool)), 2.0, 3.5),
        (Masks(zoneout_c=np.ones((1, 1, 1), bool)), 1.75, 4.0),
        (Masks(zoneout_c=np.zeros((1, 1, 1), bool)), 1.75, 3.5),
    ],
    ids=["candidate", "state", "keep-h", "keep-c", "change-c"],
)
def test_masks__equal_hand_worked(masks: Masks, h: float, c: float) -> None:
    assert step({"zoneout_h": 0.0, "zoneout_c": 0.0}, {}, masks=masks) == [[h], [c]]


@by_hand(*(f"norm-{name}" for name in LAYER_NORMS))
@pytest.mark.parametrize(
    ("layer_norm", "h", "c"),
    [
        # N(Wx) + N(Uh) = (2, 0 | 0, -2 | 2, 0 | 0, -2): i = (1, 0.5), f = (0.5, 0), g = (2, 0), o = (0.5, 0)
        ("ba", [0.5, 0.0], [4.0, 0.0]),
        ("ba_feedback", [0.5, 0.0], [1.0, -1.0]),
        # each gate (1, -1): i = f = o = (0.75, 0.25), g = (1, -1), c' = (3 + 0.75, 1 - 0.25)
        ("per_gate", [2.8125, 0.1875], [3.75, 0.75]),
        ("per_gate_feedback", [0.75, -0.25], [1.0, -1.0]),
    ],
)
def test_layer_norm__matches_hand_worked(layer_norm: str, h: list[float], c: list[float]) -> None:
    """Wx = (8, 2) and Uh = (2, 2 | -2, -2) twice, whose mean and deviation are 5, 3 and 0, 2. Epsilon is left out."""
    spec = make_spec(input_size=1, hidden_size=2, layer_norm=layer_norm, bias=False, **LINEAR)
    own = {name: np.ones(shape) for name, shape in spec.parameter_shapes().items()}
    own["weight_ih_l0"] = np.array([8.0, 2.0] * 4)[:, None]
    own["weight_hh_l0"] = np.array([[2.0, 0.0], [2.0, 0.0], [-2.0, 0.0], [-2.0, 0.0]] * 2)
    state = np.array([[[1.0, 0.0]]]), np.array([[[4.0, 4.0]]])
    result = run_sequence(np, spec, own, np.ones((1, 1, 1)), state)
    for found, expected in zip(result.state, (h, c), strict=True):
        np.testing.assert_allclose(found[0, 0], expected, atol=3e-5)


@by_hand("hard-sigmoid", "hard-sigmoid-of-onnx", "relu-softsign", "sigmoid-candidate", "scaled-tanh")
@by_hand("affine-elu-leaky-relu", "exponential-hard-tanh", "silu-gelu", "mish-softplus", "thresholded-relu-relu6")
@by_hand("hard-silu-log-sigmoid", "soft-shrink-hard-shrink", "sparse-plus-tanh-shrink", "squareplus-selu")
@pytest.mark.parametrize(
    ("activation", "z", "value"),
    [
        ("hard_sigmoid", [-4, -3, 0, 1.5, 3, 9], [0, 0, 0.5, 0.75, 1, 1]),
        (("hard_sigmoid", 0.2, 0.5), [-3, -1, 1, 4], [0, 0.3, 0.7, 1]),
        ("relu", [-2, 0, 3], [0, 0, 3]),
        ("softsign", [-3, 0, 1], [-0.75, 0, 0.5]),
        ("identity", [-7, 7], [-7, 7]),
        ("sigmoid", [0, np.log(3)], [0.5, 0.75]),
        ("tanh", [0, np.log(3)], [0, 0.8]),
        (("tanh", 2.0, 0.5), [0, np.log(9)], [0, 1.6]),  # 2 tanh(z / 2) = 4 sigmoid(z) - 2
        (("affine", 0.25, 0.5), [-4, 2], [-0.5, 1]),
        ("elu", [-np.log(2), 0, 2], [-0.5, 0, 2]),
        (("elu", 0.5), [-np.log(2), 0, 2], [-0.25, 0, 2]),
        ("selu", [-np.log(2), 1], [-0.8790496703, 1.0507009874]),  # scale * alpha = 1.7580993408
        ("leaky_relu", [-2, 0, 2], [-0.02, 0, 2]),
        (("leaky_relu", 0.2), [-2, 0, 2], [-0.4, 0, 2]),
        ("thresholded_relu", [-2, 1, 1.5], [0, 0, 1.5]),
        (("thresholded_relu", -1.0), [-2, -0.5, 0.5], [0, -0.5, 0.5]),
        ("relu6", [-1, 5, 7], [0, 5, 6]),
        ("softplus", [0, np.log(3)], [np.log(2), np.log(4)]),
        ("squareplus", [-1.5, 0, 1.5], [0.5, 1, 2]),  # sqrt(1.5^2 + 4) = 2.5
        ("sparse_plus", [-2, -1, 0, 1, 3], [0, 0, 0.25, 1, 3]),
        ("exponential", [0, np.log(3)], [1, 3]),
        ("silu", [0, np.log(3)], [0, 0.75 * np.log(3)]),
        ("hard_silu", [-4, -1.5, 1.5, 4], [0, -0.375, 1.125, 4]),
        ("gelu", [-1, 0, 1], [-0.1586552539, 0, 0.8413447461]),  # Phi(1) = 0.8413447461
        ("mish", [0, np.log(2)], [0, 0.8 * np.log(2)]),  # tanh(log 3) = 8 / 10
        ("hard_tanh", [-2, 0.5, 2], [-1, 0.5, 1]),
        ("log_sigmoid", [0, np.log(3)], [-np.log(2), np.log(0.75)]),
        ("tanh_shrink", [0, np.log(3)], [0, np.log(3) - 0.8]),
        ("soft_shrink", [-2, -0.5, 0.25, 2], [-1.5, 0, 0, 1.5]),
        ("hard_shrink", [-2, -0.5, 0.25, 2], [-2, 0, 0, 2]),
    ],
    ids=str,
)
def test_activation__matches_hand_worked(activation: Any, z: list[float], value: list[float]) -> None:
    np.testing.assert_allclose(activate(np, activation, np.array(z, float)), value, atol=1e-10)


def test_constants__equal_defaults() -> None:
    assert activation_constants("hard_sigmoid") == ("hard_sigmoid", 1 / 6, 0.5)
    assert make_spec(gate_activation=("hard_sigmoid", 1 / 6, 0.5)) == make_spec(gate_activation="hard_sigmoid")
    assert make_spec(gate_activation=("affine", 1.0, 0.0)) == make_spec(gate_activation="identity")


FINE = np.linspace(-7.0, 7.0, 113)  # in eighths, kinks included


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation__matches_torch(name: str) -> None:
    """Values at and between kinks, gradients and curvatures beside them, far numbers too."""
    own: Any = (name, 0.5, 0.25) if name == "affine" else name
    for z in (FINE, np.array([-700.0, -40.0, 40.0, 700.0])):
        np.testing.assert_allclose(activate(np, own, z), curve(own, torch.tensor(z)), rtol=1e-12, atol=1e-12)
    found, expected = (_derivatives(lambda z, text=text: text(own, z)) for text in (partial(activate, torch), curve))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


def _derivatives(function: Any) -> list[torch.Tensor]:
    z = torch.tensor([*(FINE + 0.01), -700.0, -40.0, 40.0], requires_grad=True)
    y = function(z)
    (slope,) = torch.autograd.grad(y.sum() + 0 * z.square().sum(), z, create_graph=True)
    return [y, slope, *torch.autograd.grad(slope.sum() + 0 * z.square().sum(), z)]
