"""torch.nn's layers, cells and state dicts, and haste's arrays."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import close, hostile, run_oracle, torch_layer

from lstmkit import interop, nn
from lstmkit.spec import CellSpec, LSTMKitError, OptionError, ShapeError, gate_permutation

SPECS = [
    CellSpec(3, 5),
    CellSpec(3, 5, num_layers=3, bidirectional=True),
    CellSpec(2, 4, num_layers=2, bias=False),
    CellSpec(3, 5, num_layers=2, bidirectional=True, proj_size=2),
]
CELLS = {
    "LSTM": {},
    "GRU": {},
    "RNN": {},
    "RNN-relu": {"nonlinearity": "relu"},
}


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_layer__matches_torch(spec: CellSpec, dtype: torch.dtype) -> None:
    case = hostile(spec, dtype=dtype)
    theirs = torch_layer(case)
    taken = interop.from_torch(theirs)
    assert taken.spec == spec
    output, (h, c) = nn.build(spec, taken.parameters)(case.x, case.hx, lengths=case.lengths)
    for mine, expected in zip((output, h, c), run_oracle(theirs, case, case.clean, case.hx), strict=True):
        close(mine, expected)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_layer__roundtrips_through_torch(spec: CellSpec) -> None:
    theirs = torch_layer(hostile(spec))
    back = interop.to_torch(interop.from_torch(theirs))
    assert type(back) is type(theirs)
    assert back.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(back.state_dict()[name], value) for name, value in theirs.state_dict().items())
    ours = nn.build(spec, interop.from_torch(theirs).parameters)
    assert interop.from_torch(ours).spec == spec


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_cell__matches_torch(kind: str, bias: bool) -> None:
    name = kind.partition("-")[0]
    cell = getattr(torch.nn, f"{name}Cell")(3, 4, bias=bias, dtype=torch.float64, **CELLS[kind])
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    taken = interop.from_torch(cell)
    x, h, c = torch.randn(2, 3).double(), torch.randn(2, 4).double(), torch.randn(2, 4).double()
    layer = nn.build(taken.spec, taken.parameters)
    if kind == "LSTM":
        output, (_, after) = layer(x[None], (h[None], c[None]))
        expected = cell(x, (h, c))
        close(after[0], expected[1])
        close(output[0], expected[0])
    else:
        close(layer(x[None], h[None])[0][0], cell(x, h))
    back = interop.to_torch(taken, cell=True)
    assert type(back) is type(cell)
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in cell.state_dict().items())


@pytest.mark.parametrize("kind", ["GRU", "RNN", "RNN-relu"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative__roundtrips_through_torch(kind: str, bias: bool, bidirectional: bool) -> None:
    make = getattr(torch.nn, kind.partition("-")[0])
    theirs = make(3, 4, 2, bias=bias, bidirectional=bidirectional, dtype=torch.float64, **CELLS[kind])
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    taken = interop.from_torch(theirs)
    x, h = torch.randn(5, 3, 3).double(), torch.randn(4 if bidirectional else 2, 3, 4).double()
    for mine, expected in zip(nn.build(taken.spec, taken.parameters)(x, h), theirs(x, h), strict=True):
        close(mine, expected)
    back = interop.to_torch(taken)
    assert getattr(back, "nonlinearity", None) == getattr(theirs, "nonlinearity", None)
    assert all(torch.equal(back.state_dict()[name], value) for name, value in theirs.state_dict().items())


def test_to_torch__rejects_gru_that_resets_before() -> None:
    spec = CellSpec(2, 3, cell="gru", reset_after=False)
    layer = interop.Layer(spec, {name: np.ones(shape) for name, shape in spec.parameter_shapes().items()})
    with pytest.raises(OptionError, match="torch.nn.GRU has not all options of this stack: .*reset_after=False"):
        interop.to_torch(layer)


def test_half_precision__becomes_float32() -> None:
    layer = torch.nn.LSTM(2, 3, dtype=torch.bfloat16)
    taken = interop.from_torch(layer).parameters["weight_hh_l0"]
    assert taken.dtype == np.float32
    assert torch.equal(torch.from_numpy(taken).bfloat16(), layer.weight_hh_l0)


def test_state_dict__equals_layers_by_name() -> None:
    model = torch.nn.ModuleDict(
        {
            "encoder": torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2),
            "cell": torch.nn.LSTMCell(5, 3, bias=False),
            "head": torch.nn.Linear(3, 1),
            "gru": torch.nn.GRU(2, 6, num_layers=2, bias=False),
            "rnn": torch.nn.RNN(2, 6),
        }
    )
    found = interop.from_state_dict(model.state_dict())
    assert {name: layer.spec for name, layer in found.items()} == {
        "encoder": CellSpec(3, 4, 2, bidirectional=True, proj_size=2),
        "cell": CellSpec(5, 3, bias=False),
        "gru": CellSpec(2, 6, 2, bias=False, cell="gru"),
        "rnn": CellSpec(2, 6, cell="rnn"),
    }
    for name, layer in found.items():
        direct = interop.from_torch(model[name])
        assert all(np.array_equal(layer.parameters[key], array) for key, array in direct.parameters.items())
    assert list(interop.from_state_dict(torch.nn.LSTM(2, 3).state_dict())) == [""]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight_hh_l0": torch.ones(13, 3)}, "13 rows for 3 units; an LSTM has 4 times"),
        ({"weight_hh_l0": torch.ones(15, 3)}, "15 rows for 3 units"),
        ({"weight_ih_l0": torch.ones(2, 12)}, r"weight_ih_l0 must have shape \(12, 12\), not \(2, 12\)"),
        ({"bias_hh_l0": torch.ones(2, 12)}, r"bias_hh_l0 must have shape \(12,\), not \(2, 12\)"),
        ({"bias_hh_l0": None}, "'bias_hh_l0' of shape .* is missing"),
        ({"weight_ih_l0": None}, "lack the matrices"),
        ({"weight_ih_l2": torch.ones(12, 3)}, "is missing"),
        ({"bias_hh_l0_reverse": torch.ones(12)}, "no parameter 'bias_hh_l0_reverse'"),
        ({"weight_hh_l0": torch.ones(12, 3, dtype=torch.int64)}, "must hold floating-point numbers, not int64"),
    ],
)
def test_state_dict__rejects_what_does_not_belong_together(change: dict[str, Any], said: str) -> None:
    state = {**torch.nn.LSTM(2, 3).state_dict(), **change}
    with pytest.raises(ShapeError, match=said):
        interop.from_state_dict({name: value for name, value in state.items() if value is not None})


def test_from_torch__rejects_other_modules() -> None:
    with pytest.raises(OptionError, match="expected an LSTM, GRU, RNN or a cell of torch.nn, not Linear"):
        interop.from_torch(torch.nn.Linear(2, 3))


def test_learned_states__are_refused() -> None:
    with pytest.raises(OptionError, match="learned first states, which a Layer does not hold"):
        interop.from_torch(nn.GRU(2, 3, learn_initial_state=True))


def test_to_torch__rejects_stack_as_cell() -> None:
    with pytest.raises(OptionError, match="one layer, one direction and no projection"):
        interop.to_torch(interop.from_torch(torch.nn.LSTM(2, 3, num_layers=2)), cell=True)


def haste_lstm(state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """haste's documented layout, written down once more: gates i, g, f, o along the columns."""
    hidden = state["recurrent_kernel"].shape[0]
    h, c = np.zeros((2, x.shape[1], hidden))
    outputs = []
    for step in x:
        z = step @ state["kernel"] + h @ state["recurrent_kernel"] + state["bias"]
        i, g, f, o = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        outputs.append(h)
    return np.stack(outputs)


def test_haste_lstm__matches_its_layout() -> None:
    generator = np.random.default_rng(0)
    state = {
        "kernel": generator.normal(size=(3, 20)),
        "recurrent_kernel": generator.normal(size=(5, 20)),
        "bias": generator.normal(size=20),
    }
    x = generator.normal(size=(4, 2, 3))
    taken = interop.from_haste(state)
    output, _ = nn.build(taken.spec, taken.parameters)(torch.from_numpy(x))
    np.testing.assert_allclose(output.detach().numpy(), haste_lstm(state, x), rtol=0, atol=1e-12)
    back = interop.to_haste(taken)
    assert all(np.array_equal(back[name], array) for name, array in state.items())


def test_haste_gru__matches_its_layout() -> None:
    """Gates z, r, g along the columns, two biases, the reset after the product; z keeps the old state."""
    generator = np.random.default_rng(0)
    shapes = {"kernel": (3, 15), "recurrent_kernel": (5, 15), "bias": (15,), "recurrent_bias": (15,)}
    state = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    x, h, outputs = generator.normal(size=(4, 2, 3)), np.zeros((2, 5)), []
    for step in x:
        a, b = step @ state["kernel"] + state["bias"], h @ state["recurrent_kernel"] + state["recurrent_bias"]
        z, r = (1 / (1 + np.exp(-(a + b)[:, k : k + 5])) for k in (0, 5))
        h = z * h + (1 - z) * np.tanh(a[:, 10:] + r * b[:, 10:])
        outputs.append(h)
    taken = interop.from_haste(state)
    output, _ = nn.build(taken.spec, taken.parameters)(torch.from_numpy(x))
    np.testing.assert_allclose(output.detach().numpy(), np.stack(outputs), rtol=0, atol=1e-12)
    assert all(np.array_equal(interop.to_haste(taken)[name], array) for name, array in state.items())


@pytest.mark.parametrize("name", ["kernel", "recurrent_kernel", "bias"])
def test_haste__rejects_other_shapes(name: str) -> None:
    state = {"kernel": np.ones((3, 20)), "recurrent_kernel": np.ones((5, 20)), "bias": np.ones(20)}
    for wrong in (np.atleast_2d(state[name]).T, state[name][..., 1:]):
        with pytest.raises(LSTMKitError, match="with the gates i, g, f, o, not|haste LSTM"):
            interop.from_haste({**state, name: wrong})
    with pytest.raises(ShapeError, match="expected the arrays kernel"):
        interop.from_haste({other: array for other, array in state.items() if other != name})


def test_gate_permutation_of_haste__never_equals_identity() -> None:
    assert gate_permutation("haste") != gate_permutation("torch")
