import itertools

import pytest
import torch

from lstmkit.spec import CATALOG, LAYOUTS, CellSpec, LSTMKitError, OptionError, catalog_entry, gate_permutation


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("proj_size", [0, 2])
def test_parameter_shapes__equals_torch(num_layers: int, bias: bool, bidirectional: bool, proj_size: int) -> None:
    spec = CellSpec(3, 5, num_layers, bias, bidirectional, proj_size)
    layer = torch.nn.LSTM(3, 5, num_layers, bias, bidirectional=bidirectional, proj_size=proj_size)
    theirs = {name: tuple(value.shape) for name, value in layer.named_parameters()}
    assert list(spec.parameter_shapes().items()) == list(theirs.items())


def test_spec__roundtrips_dict() -> None:
    spec = CellSpec(3, 5, 2, bias=False, bidirectional=True, proj_size=2)
    assert CellSpec.from_dict(spec.to_dict()) == spec
    assert (spec.num_directions, spec.state_size, spec.output_size) == (2, 2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 0}, "input_size must be a whole number of at least 1, not 0"),
        ({"hidden_size": 2.0}, "hidden_size must be a whole number of at least 1, not 2.0"),
        ({"num_layers": True}, "num_layers must be a whole number"),
        ({"proj_size": -1}, "at least 0, not -1"),
        ({"proj_size": 5}, "smaller than hidden_size, not 5 >= 5"),
        ({"bias": "yes"}, "bias must be True or False"),
        ({"bidirectional": 1}, "bidirectional must be True or False"),
        ({"cell": "lsmt"}, "no cell is called 'lsmt'; the catalog has: .*gru, .*lstm"),
    ],
)
def test_spec__rejects_impossible(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CellSpec.from_dict({"input_size": 3, "hidden_size": 5} | options)


def test_from_dict__rejects_unknown_and_missing() -> None:
    with pytest.raises(OptionError, match="'hiden_size'; it knows: "):
        CellSpec.from_dict({"input_size": 3, "hidden_size": 5, "hiden_size": 5})
    with pytest.raises(OptionError, match="needs hidden_size and input_size"):
        CellSpec.from_dict({})


@pytest.mark.parametrize("cell", CATALOG)
def test_catalog__names_gates_states_and_source(cell: str) -> None:
    entry = catalog_entry(cell)
    assert entry.gates
    assert entry.states
    assert entry.title
    assert any(character.isdigit() for character in entry.source)


@pytest.mark.parametrize("cell", LAYOUTS)
def test_gate_permutation__roundtrips(cell: str) -> None:
    for source, target in itertools.product(LAYOUTS[cell], repeat=2):
        there, back = gate_permutation(source, target, cell), gate_permutation(target, source, cell)
        assert tuple(LAYOUTS[cell][source].gates[k] for k in there) == LAYOUTS[cell][target].gates
        assert [there[k] for k in back] == list(range(len(there)))


@pytest.mark.parametrize("cell", [cell for cell in LAYOUTS if cell in CATALOG])
def test_layout__equals_catalog(cell: str) -> None:
    assert LAYOUTS[cell]["lstmkit"].gates == CATALOG[cell].gates


def test_gate_permutation__rejects_unknown_system() -> None:
    with pytest.raises(OptionError, match="'mxnet'; known: lstmkit"):
        gate_permutation("mxnet")


def test_errors__equals_one_family() -> None:
    assert issubclass(OptionError, LSTMKitError)
    assert issubclass(OptionError, ValueError)
