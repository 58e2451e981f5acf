"""torch.nn's layers, cells and state dicts."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import close, hostile, run_oracle, torch_layer

from lstmkit import interop, nn
from lstmkit.spec import CellSpec, OptionError, ShapeError

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
    with pytest.raises(OptionError, match="torch.nn.GRU has not all options of this stack: .'reset_after': False."):
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


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"go_backwards": True}, "torch.nn has no go_backwards=True, with which this layer is called"),
        ({"direction": "reverse"}, "torch.nn has no direction='reverse'"),
        ({"merge_mode": None}, "torch.nn has no merge_mode=None"),
    ],
)
def test_to_torch__rejects_call_that_would_be_lost(call: dict[str, Any], said: str) -> None:
    taken = interop.from_torch(torch.nn.GRU(2, 3))
    with pytest.raises(OptionError, match=said):
        interop.to_torch(interop.Layer(taken.spec, taken.parameters, call))
