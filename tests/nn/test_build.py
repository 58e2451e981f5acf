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


CELLS = {
    "lstm": lambda bias: nn.LSTMCell(3, 4, bias, dtype=torch.float64),
    "gru": lambda bias: nn.GRUCell(3, 4, bias, dtype=torch.float64),
    "gru-before": lambda bias: nn.GRUCell(3, 4, bias, dtype=torch.float64, reset_after=False),
    "rnn": lambda bias: nn.RNNCell(3, 4, bias, dtype=torch.float64),
    "rnn-relu": lambda bias: nn.RNNCell(3, 4, bias, "relu", dtype=torch.float64),
}


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_cell__matches_reference(kind: str, bias: bool) -> None:
    """The equations of a layer made of the cell's weights, in values and gradients, with a batch and without."""
    cell = CELLS[kind](bias)
    taken = interop.from_torch(cell)
    x, state = torch.randn(2, 3).double(), torch.randn(len(cell.spec.state_shapes()), 2, 4).double()
    hx = tuple(state) if len(state) > 1 else state[0]
    layer = nn.build(taken.spec, taken.parameters, engine="reference")
    found, (_, expected) = cell(x, hx), layer(x[None], tuple(state[:, None]) if len(state) > 1 else state)
    mine, theirs = (torch.cat([*v]) if isinstance(v, tuple) else v for v in (found, expected))
    close(mine, theirs.reshape(mine.shape))
    for value in (mine, theirs):
        value.square().sum().backward()
    for name, parameter in cell.named_parameters():
        close(parameter.grad, getattr(layer, f"{name}_l0").grad, name)
    alone = cell(x[0], tuple(state[:, 0]) if len(state) > 1 else state[0, 0])
    close(torch.cat([*alone]) if isinstance(alone, tuple) else alone, mine.detach().reshape(-1, 2, 4)[:, 0].reshape(-1))
