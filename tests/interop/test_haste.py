"""haste's arrays in and out, beside haste's documented formulas, written down once more."""

from typing import Any

import numpy as np
import pytest
import torch

from lstmkit import interop, nn
from lstmkit.spec import CellSpec, LSTMKitError, OptionError, ShapeError, Variant, gate_permutation

SHAPES = {"kernel": (3, 20), "recurrent_kernel": (5, 20), "bias": (20,)}
NORMS = {"gamma": (2, 20), "gamma_h": (5,), "beta_h": (5,)}
GRU_SHAPES = {"kernel": (3, 15), "recurrent_kernel": (5, 15), "bias": (15,), "recurrent_bias": (15,)}


def draw(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


def norm(v: np.ndarray, gamma: Any, beta: Any = 0.0) -> np.ndarray:
    mean, variance = v.mean(1, keepdims=True), v.var(1, keepdims=True)
    return (v - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


def haste_lstm(state: dict[str, np.ndarray], x: np.ndarray, zoneout: float) -> np.ndarray:
    """Gates i, g, f, o along the columns; the norm of c is for the output alone; zoneout as in evaluation."""
    normed = "gamma" in state
    h, c = np.zeros((2, x.shape[1], 5))
    outputs = []
    for step in x:
        a, b = step @ state["kernel"], h @ state["recurrent_kernel"]
        if normed:
            a, b = norm(a, state["gamma"][0]), norm(b, state["gamma"][1])
        i, g, f, o = np.split(a + b + state["bias"], 4, axis=1)
        c = c * sigmoid(f) + np.tanh(g) * sigmoid(i)
        read = norm(c, state["gamma_h"], state["beta_h"]) if normed else c
        h = zoneout * h + (1 - zoneout) * np.tanh(read) * sigmoid(o)
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize("zoneout", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["LSTM", "LayerNormLSTM"])
def test_haste_lstm__matches_its_formulas(kind: str, zoneout: float) -> None:
    state = draw(SHAPES | (NORMS if kind == "LayerNormLSTM" else {}))
    x = np.random.default_rng(1).normal(size=(6, 2, 3))
    taken = interop.from_haste(state, zoneout=zoneout)
    output, _ = nn.build(taken.spec, taken.parameters).eval()(torch.from_numpy(x))
    np.testing.assert_allclose(output.detach().numpy(), haste_lstm(state, x, zoneout), rtol=0, atol=1e-12)
    back, options, arrays = interop.to_haste(taken)
    assert (back, options) == (kind, {"input_size": 3, "hidden_size": 5, "zoneout": zoneout})
    assert list(arrays) == list(state)
    assert all(np.array_equal(arrays[name], array) for name, array in state.items())


def test_haste_gru__matches_its_formulas() -> None:
    """Gates z, r, g along the columns, two biases, the reset after the product; z keeps the old state."""
    state = draw(GRU_SHAPES)
    x, h, outputs = np.random.default_rng(1).normal(size=(4, 2, 3)), np.zeros((2, 5)), []
    for step in x:
        a, b = step @ state["kernel"] + state["bias"], h @ state["recurrent_kernel"] + state["recurrent_bias"]
        z, r = (sigmoid((a + b)[:, k : k + 5]) for k in (0, 5))
        h = z * h + (1 - z) * np.tanh(a[:, 10:] + r * b[:, 10:])
        outputs.append(h)
    taken = interop.from_haste(state)
    output, _ = nn.build(taken.spec, taken.parameters)(torch.from_numpy(x))
    np.testing.assert_allclose(output.detach().numpy(), np.stack(outputs), rtol=0, atol=1e-12)
    kind, options, arrays = interop.to_haste(taken)
    assert (kind, options["zoneout"]) == ("GRU", 0.0)
    assert all(np.array_equal(arrays[name], array) for name, array in state.items())
    with pytest.raises(OptionError, match="haste's GRU with zoneout=0.5 cannot be converted"):
        interop.from_haste(state, zoneout=0.5)


@pytest.mark.parametrize("name", [*SHAPES, *NORMS])
def test_haste__rejects_other_shapes(name: str) -> None:
    state = draw(SHAPES | NORMS)
    for wrong in (state[name][None].T, state[name][..., 1:]):
        with pytest.raises(ShapeError, match=r"haste's LayerNormLSTM.* must have (the )?shape"):
            interop.from_haste({**state, name: wrong})


@pytest.mark.parametrize("missing", SHAPES)
def test_haste__rejects_other_names(missing: str) -> None:
    with pytest.raises(ShapeError, match=r"expected the arrays kernel, recurrent_kernel, bias .LSTM.; or .*, not"):
        interop.from_haste({name: array for name, array in draw(SHAPES).items() if name != missing})
    with pytest.raises(ShapeError, match="not bias, gamma, kernel, recurrent_bias, recurrent_kernel"):
        interop.from_haste(draw(GRU_SHAPES | {"gamma": (2, 15)}))


@pytest.mark.parametrize(
    "spec",
    [
        CellSpec(3, 4, variant=Variant(layer_norm="per_gate")),
        CellSpec(3, 4, variant=Variant(zoneout_c=0.1)),
        CellSpec(3, 4, variant=Variant(peepholes="ifo")),
        CellSpec(3, 4, 2),
        CellSpec(3, 4, bias=False),
        CellSpec(3, 4, bidirectional=True),
        CellSpec(3, 4, cell="gru", reset_after=False),
        CellSpec(3, 4, cell="rnn"),
    ],
    ids=str,
)
def test_to_haste__rejects_what_haste_lacks(spec: CellSpec) -> None:
    layer = interop.Layer(spec, {name: np.ones(shape) for name, shape in spec.parameter_shapes().items()})
    with pytest.raises(OptionError, match="haste has an LSTM, with zoneout on h"):
        interop.to_haste(layer)


def test_to_haste__rejects_call_that_would_be_lost() -> None:
    taken = interop.from_haste(draw(SHAPES))
    with pytest.raises(LSTMKitError, match="haste has no direction='reverse'"):
        interop.to_haste(interop.Layer(taken.spec, taken.parameters, {"direction": "reverse"}))


def test_gate_permutation_of_haste__never_equals_identity() -> None:
    assert gate_permutation("haste") != gate_permutation("torch")
