"""torch's recurrent layers inside any model, replaced in place."""

import copy
from typing import Any

import pytest
import torch
from helpers.hostile import close
from torch.nn.utils import parametrizations, prune, rnn

from lstmkit import nn

LAYERS = {
    "plain": lambda: torch.nn.LSTM(3, 4),
    "stacked": lambda: torch.nn.LSTM(3, 4, num_layers=3, dropout=0.3),
    "bidirectional": lambda: torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "projected": lambda: torch.nn.LSTM(3, 4, proj_size=2, bidirectional=True),
    "no-bias": lambda: torch.nn.LSTM(3, 4, bias=False),
    "gru": lambda: torch.nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "gru-no-bias": lambda: torch.nn.GRU(3, 4, bias=False),
    "rnn": lambda: torch.nn.RNN(3, 4, num_layers=2, bidirectional=True),
    "rnn-relu": lambda: torch.nn.RNN(3, 4, num_layers=2, nonlinearity="relu", dropout=0.4),
}


class Model(torch.nn.Module):
    """A layer deep inside, among others."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.before = torch.nn.Linear(3, 3)
        self.blocks = torch.nn.ModuleList([torch.nn.ModuleDict({"memory": layer})])

    def forward(self, x: Any, hx: Any = None) -> Any:
        return self.blocks[0]["memory"](x, hx)


def flat(value: Any) -> list[torch.Tensor]:
    if isinstance(value, rnn.PackedSequence):
        return [value.data]
    return [value] if isinstance(value, torch.Tensor) else [tensor for part in value for tensor in flat(part)]


@pytest.mark.parametrize("kind", LAYERS)
def test_converted_model__matches_torch(kind: str) -> None:
    layer = LAYERS[kind]().double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    theirs = Model(layer).eval()
    ours = copy.deepcopy(theirs)
    assert nn.convert(ours).replaced == ("blocks.0.memory",)
    x = torch.randn(6, 6, 3).double()
    packed = rnn.pack_padded_sequence(x, torch.tensor([2, 6, 1, 4, 6, 3]), layer.batch_first, enforce_sorted=False)
    _, hx = theirs(x)
    calls: list[tuple[Any, Any]] = [(x, None), (x, hx), (packed, hx)]
    if not layer.batch_first:
        calls.append((x[:, 0], None))
    for value, state in calls:
        for mine, expected in zip(flat(ours(value, state)), flat(theirs(value, state)), strict=True):
            close(mine, expected)


@pytest.mark.parametrize("kind", LAYERS)
def test_conversion__preserves_training(kind: str) -> None:
    """The same objects as parameters: an optimizer made before goes on, and gradients are torch's."""
    layer = LAYERS[kind]()
    layer.dropout = 0.0
    theirs = Model(layer.double())
    ours = copy.deepcopy(theirs)
    before = dict(ours.named_parameters())
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    nn.convert(ours)
    after = dict(ours.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = torch.randn(5, 2, 3).double()
    oracle = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for model, own in ((ours, optimizer), (theirs, oracle)):
        model(x)[0].square().sum().backward()
        own.step()
    for mine, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(mine, expected)


CELLS = {
    "lstm": lambda **options: torch.nn.LSTMCell(3, 4, **options),
    "gru": lambda **options: torch.nn.GRUCell(3, 4, **options),
    "rnn": lambda **options: torch.nn.RNNCell(3, 4, **options),
    "rnn-relu": lambda **options: torch.nn.RNNCell(3, 4, nonlinearity="relu", **options),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_converted_cell__matches_torch(kind: str, bias: bool) -> None:
    """Step after step from a random state, with the same objects as parameters and torch's gradients."""
    cell = CELLS[kind](bias=bias, dtype=torch.float64)
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    theirs = Model(cell)
    ours = copy.deepcopy(theirs)
    before = dict(ours.named_parameters())
    assert nn.convert(ours) == nn.Conversion(("blocks.0.memory",), {})
    assert type(ours.blocks[0]["memory"]).__module__ == "lstmkit.nn.cells"
    assert all(value is before[name] for name, value in ours.named_parameters())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x, state = torch.randn(2, 3, 3).double(), torch.randn(2, 3, 4).double()
    for model in (ours, theirs):
        hx: Any = tuple(state) if kind == "lstm" else state[0]
        for step in x:
            hx = model(step, hx)
        torch.cat(flat(hx)).square().sum().backward()
    for mine, expected in zip(ours.blocks.parameters(), theirs.blocks.parameters(), strict=True):
        close(mine.grad, expected.grad)
    for value in (x[0], x[0, 0]):
        for mine, expected in zip(flat(ours(value)), flat(theirs(value)), strict=True):
            close(mine, expected)
    assert nn.convert(ours) == nn.Conversion((), {})


def test_conversion__preserves_hooks_mode_dtype_and_device() -> None:
    model = Model(torch.nn.LSTM(3, 4, dtype=torch.bfloat16, device="meta"))
    layer = model.blocks[0]["memory"].eval()
    layer.weight_hh_l0.requires_grad_(False)
    called: list[str] = []
    handle = layer.register_forward_hook(lambda *_: called.append("after"))
    layer.register_forward_pre_hook(lambda *_: called.append("before"))
    nn.convert(model)
    twin = model.blocks[0]["memory"]
    assert isinstance(twin, nn.LSTM)
    assert not twin.training
    assert not twin.weight_hh_l0.requires_grad
    assert twin.weight_hh_l0.dtype == torch.bfloat16
    assert twin.weight_hh_l0.is_meta
    x = torch.empty(2, 1, 3, dtype=torch.bfloat16, device="meta")
    model(x)
    assert called == ["before", "after"]
    handle.remove()
    model(x)
    assert called == ["before", "after", "before"]


def test_shared_layer__stays_one_layer() -> None:
    layer = torch.nn.LSTM(3, 3)
    model = torch.nn.ModuleList([layer, torch.nn.Sequential(layer)])
    assert nn.convert(model).replaced == ("0", "1.0")
    assert model[0] is model[1][0]


def test_tied_weights__stay_tied() -> None:
    model = torch.nn.ModuleList([torch.nn.LSTM(3, 4), torch.nn.LSTM(3, 4)])
    model[1].weight_hh_l0 = model[0].weight_hh_l0
    nn.convert(model)
    assert model[1].weight_hh_l0 is model[0].weight_hh_l0


class Own(torch.nn.LSTM):
    """Somebody's own."""


class OwnCell(torch.nn.GRUCell):
    """Somebody's own."""


def weight_normalised() -> torch.nn.Module:
    return parametrizations.weight_norm(torch.nn.LSTM(3, 4), "weight_hh_l0")


def pruned() -> torch.nn.Module:
    layer = torch.nn.LSTM(3, 4)
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    return layer


def pruned_cell() -> torch.nn.Module:
    cell = torch.nn.LSTMCell(3, 4)
    prune.l1_unstructured(cell, "weight_hh", 0.5)
    return cell


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Own(3, 4), "may compute something else"),
        (lambda: OwnCell(3, 4), "may compute something else"),
        (weight_normalised, "its weights are parametrised: weight_hh_l0"),
        (pruned, "its weights are rewritten by something else: weight_hh_l0"),
        (pruned_cell, "its weights are rewritten by something else: weight_hh"),
        (lambda: torch.jit.script(torch.nn.LSTM(3, 4)), "RecursiveScriptModule"),
    ],
    ids=["subclass", "subclass-of-cell", "parametrised", "pruned", "pruned-cell", "scripted"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_conversion__names_what_it_leaves(make: Any, said: str) -> None:
    layer = make()
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), layer)
    report = nn.convert(model)
    assert report.replaced == ()
    assert list(report.left) == ["1"]
    assert said in report.left["1"]
    assert said in str(report)
    assert model[1] is layer


def test_model_itself__is_left() -> None:
    report = nn.convert(torch.nn.LSTM(3, 4))
    assert "the model itself: it has no place to put another into" in str(report)


def test_second_conversion__equals_first() -> None:
    model = torch.nn.Sequential(torch.nn.LSTM(3, 4))
    nn.convert(model)
    layer = model[0]
    assert nn.convert(model) == nn.Conversion((), {})
    assert model[0] is layer
