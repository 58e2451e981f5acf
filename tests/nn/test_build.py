"""From a CellSpec to its layer, and from a layer to its spec, for every cell of the catalog."""

from typing import Any

import pytest
import torch
from helpers.hostile import close

from lstmkit import interop, nn
from lstmkit.spec import CATALOG, CellSpec, OptionError, Variant

# What each cell has beside its sizes, none of it at its default.
OPTIONS: dict[str, dict[str, Any]] = {
    "lstm": {"proj_size": 2, "variant": Variant(peepholes="io", forget_gate="coupled", zoneout_h=0.1)},
    "rnn": {"nonlinearity": "relu"},
    "gru": {"reset_after": False},
    "slstm": {"num_heads": 2},
    "mlstm": {"num_heads": 2},
    "janet": {"beta": 0.5},
    "mogrifier": {"rounds": 4, "rank": 2},
    "on_lstm": {"chunk_size": 2},
    "phased": {"leak": 0.1},
    "entity_aware": {"static_size": 3},
    "conv_lstm": {"kernel_size": (3, 2)},
}
EXTRA = {"times": torch.rand(5, 2).cumsum(0), "intervals": torch.rand(5, 2), "static": torch.randn(2, 3)}
SEQUENCES = [cell for cell in CATALOG if cell != "tree"]


def run(layer: Any) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    spec = layer.spec
    x = torch.randn(5, 2, spec.input_size, *([4] * len(spec.kernel_size)), generator=generator).double()
    extra = {name: EXTRA[name].double() for name in (spec.entry.extra,) if name}
    output, state = layer(x, **extra, lengths=torch.tensor([3, 5]))
    return [output, *(state if isinstance(state, tuple) else [state])]


@pytest.mark.parametrize("cell", SEQUENCES)
def test_built_layer__equals_original(cell: str) -> None:
    """By way of its description alone: the same class, options, weights and numbers."""
    spec = CellSpec(3, 4, num_layers=2, bidirectional=True, bias=False, cell=cell, **OPTIONS.get(cell, {}))
    layer = nn.build(spec, dtype=torch.float64)
    assert layer.spec == spec
    taken = interop.from_torch(layer)
    again = nn.build(CellSpec.from_dict(taken.spec.to_dict()), taken.parameters)
    assert type(again) is type(layer)
    assert repr(again) == repr(layer)
    for mine, expected in zip(run(again.eval()), run(layer.eval()), strict=True):
        assert torch.equal(mine, expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_built_convolution__has_its_axes(axes: int) -> None:
    layer = nn.build(CellSpec(3, 4, cell="conv_lstm", kernel_size=(3,) * axes, padding="valid"))
    assert repr(layer) == f"ConvLSTM{axes}D(3, 4, kernel_size={(3,) * axes}, padding='valid')"


def test_built_tree__equals_original() -> None:
    tree = nn.TreeLSTM(3, 4, dtype=torch.float64)
    taken = interop.from_torch(tree)
    again = nn.build(taken.spec, taken.parameters)
    nodes, parents = torch.randn(4, 3).double(), [1, 3, 3, -1]
    for mine, expected in zip(again(nodes, parents), tree(nodes, parents), strict=True):
        close(mine, expected)
    with pytest.raises(OptionError, match="a TreeLSTM has one layer and no direction"):
        nn.build(CellSpec(3, 4, 2, cell="tree"))


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_of_cell__matches_cell(kind: Any, bias: bool) -> None:
    """A cell's weights make a layer whose one step is the cell's."""
    cell = kind(3, 4, bias, dtype=torch.float64)
    taken = interop.from_torch(cell)
    x = torch.randn(1, 2, 3).double()
    state = cell(x[0])
    close(nn.build(taken.spec, taken.parameters)(x)[0][0], state[0] if isinstance(state, tuple) else state)
