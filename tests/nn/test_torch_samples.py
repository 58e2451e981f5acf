"""torch's own sample inputs for its recurrent modules, through ours, with torch as the oracle."""

import warnings
from typing import Any

import pytest
import torch
from helpers.hostile import close
from torch import Tensor

from lstmkit import nn
from lstmkit.spec import OptionError, ShapeError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
NAMES = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")
INFOS = {info.module_cls.__name__: info for info in module_db if info.module_cls.__module__.endswith("modules.rnn")}


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in tensors(part)]


def own_leaves(value: Any) -> Any:
    """The same numbers as leaves that want gradients."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_()
    return tuple(own_leaves(part) for part in value)


def test_samples__equal_modules_of_torch() -> None:
    assert set(INFOS) == set(NAMES)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_module__matches_torch__its_sample_inputs(name: str, training: bool) -> None:
    info = INFOS[name]
    sizes = {"device": "cpu", "dtype": torch.float64, "requires_grad": True, "training": training}
    samples = info.module_inputs_func(info, **sizes)
    assert len(samples) >= 2
    for sample in samples:
        made, call = sample.constructor_input, sample.forward_input
        ours = getattr(nn, name)(*made.args, **made.kwargs, dtype=torch.float64).train(training)
        theirs = info.module_cls(*made.args, **made.kwargs, dtype=torch.float64).train(training)
        theirs.load_state_dict(ours.state_dict())
        every = []
        for module in (ours, theirs):
            given = own_leaves(call.args)
            outputs = tensors(module(*given, **call.kwargs))
            total = torch.stack([(y * torch.arange(y.numel()).reshape(y.shape)).sum() for y in outputs]).sum()
            every.append([*outputs, *torch.autograd.grad(total, [*tensors(given), *module.parameters()])])
        for left, right in zip(*every, strict=True):
            close(left, right)


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cell__equals_torch__same_seed(name: str) -> None:
    cells = []
    for family in (nn, torch.nn):
        torch.manual_seed(3)
        cells.append(getattr(family, name)(3, 5, bias=False))
    ours, theirs = cells
    assert repr(ours) == repr(theirs)
    for (left, a), (right, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert left == right
        assert torch.equal(a, b)
    for x in (torch.randn(2, 3), torch.randn(3)):
        for left, right in zip(tensors(ours(x)), tensors(theirs(x)), strict=True):
            close(left, right)


def test_cells__match_layers__options() -> None:
    x, h = torch.randn(4, 2, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    for cell, layer in (
        (
            nn.GRUCell(3, 5, reset_after=False, dtype=torch.float64),
            nn.GRU(3, 5, reset_after=False, dtype=torch.float64),
        ),
        (nn.RNNCell(3, 5, nonlinearity="relu", dtype=torch.float64), nn.RNN(3, 5, 1, "relu", dtype=torch.float64)),
    ):
        layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
        state = h
        for row, expected in zip(x, layer(x, h[None])[0], strict=True):
            state = cell(row, state)
            close(state, expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.GRUCell(3, 5)(torch.zeros(2, 4)), ShapeError, r"shape \(B, 3\) or without B, not \(2, 4\)"),
        (lambda: nn.GRUCell(3, 5)(torch.zeros(2, 3), torch.zeros(3, 5)), ShapeError, r"h must have shape \(2, 5\)"),
        (lambda: nn.LSTMCell(3, 5)(torch.zeros(2, 3), (torch.zeros(2, 5),)), ShapeError, "pair"),
        (lambda: nn.LSTMCell(3, 5)(torch.zeros(2, 3).double()), ShapeError, "float64"),
        (lambda: nn.RNNCell(3, 5, nonlinearity="ELU"), OptionError, "one of sigmoid, tanh"),
    ],
)
def test_cell__rejects_wrong_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
