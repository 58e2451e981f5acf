"""The Tree-LSTM: a tree by hand, a chain against torch's LSTM, forests against a recursion."""

from math import tanh
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import close
from torch import Tensor

from lstmkit import nn
from lstmkit.reference import collect_tree, run_tree
from lstmkit.spec import DataError, ShapeError

PARENTS = [3, 0, 0, -1, 3, 7, 7, -1, 0]  # two trees of different heights, in no order


def recurse(layer: nn.TreeLSTM, x: Tensor, parents: list[int], node: int) -> tuple[Tensor, Tensor]:
    """One node and all below it, written as the paper has it; no list of levels, no sums at once."""
    children = [recurse(layer, x, parents, k) for k in range(len(parents)) if parents[k] == node]
    w, u = layer.weight_ih.chunk(4), layer.weight_hh.chunk(4)
    b = torch.zeros_like(layer.weight_ih[:, 0]).chunk(4) if layer.bias_ih is None else layer.bias_ih.chunk(4)
    total = torch.zeros(layer.hidden_size, dtype=x.dtype)
    for h, _ in children:
        total = total + h
    i, g, o = (w[k] @ x[node] + u[k] @ total + b[k] for k in (0, 2, 3))
    c = i.sigmoid() * g.tanh()
    for h, below in children:
        c = c + (w[1] @ x[node] + u[1] @ h + b[1]).sigmoid() * below
    return o.sigmoid() * c.tanh(), c


def draw(bias: bool = True) -> tuple[nn.TreeLSTM, Tensor]:
    torch.manual_seed(5)
    layer = nn.TreeLSTM(3, 4, bias=bias, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return layer, torch.randn(len(PARENTS), 3, dtype=torch.float64)


@pytest.mark.square("by hand", "tree", engine="reference")
def test_tree__matches_hand_worked_node() -> None:
    """Two leaves with x = 1 under a root with x = 0: g = tanh(x), and i, f, o are 1/2.

    A leaf has c = tanh(1) / 2; the root's own share is 0, so c is half of both, tanh(1) / 2 again.
    """
    layer = nn.TreeLSTM(1, 1, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_ih[2] = 1.0
    h, c = layer(torch.tensor([[0.0], [1.0], [1.0]], dtype=torch.float64), [-1, 0, 0])
    close(c, torch.full((3, 1), tanh(1) / 2, dtype=torch.float64))
    close(h, torch.full((3, 1), tanh(tanh(1) / 2) / 2, dtype=torch.float64))


@pytest.mark.square("values", "tree", engine="reference")
@pytest.mark.square("gradients", "tree", engine="reference")
@pytest.mark.parametrize("bias", [True, False])
def test_tree__matches_recursion__values_and_all_gradients(bias: bool) -> None:
    layer, x = draw(bias)
    x.requires_grad_()
    ours = layer(x, torch.tensor(PARENTS))
    theirs = [torch.stack(parts) for parts in zip(*(recurse(layer, x, PARENTS, k) for k in range(9)), strict=True)]
    weights = torch.randn(2, 9, 4, dtype=torch.float64)
    every = []
    for h, c in (ours, theirs):
        total = (h * weights[0] + c * weights[1]).sum()
        every.append([h, c, *torch.autograd.grad(total, [x, *layer.parameters()])])
    for left, right in zip(*every, strict=True):
        close(left, right)


def test_numpy_reference__matches_recursion() -> None:
    layer, x = draw()
    w = collect_tree({name: value.detach().numpy() for name, value in layer.named_parameters()})
    ours = run_tree(np, w, x.numpy(), PARENTS)
    theirs = zip(*(recurse(layer, x, PARENTS, k) for k in range(9)), strict=True)
    for left, right in zip(ours, theirs, strict=True):
        close(torch.from_numpy(left), torch.stack(right).detach())


def test_chain__matches_torch_lstm() -> None:
    layer, x = draw()
    lstm = torch.nn.LSTM(3, 4, dtype=torch.float64)
    zeros = torch.zeros(16, dtype=torch.float64)
    lstm.load_state_dict({**{f"{k}_l0": v for k, v in layer.state_dict().items()}, "bias_hh_l0": zeros})
    h, _ = layer(x, [*range(1, 9), -1])
    close(h, lstm(x)[0])


@pytest.mark.square("order", "tree", engine="reference")
def test_tree__preserves_order_of_nodes_and_children() -> None:
    layer, x = draw()
    h, c = layer(x, PARENTS)
    order = [4, 8, 0, 2, 7, 1, 3, 6, 5]
    place = {node: k for k, node in enumerate(order)}
    moved = [place.get(PARENTS[node], -1) for node in order]
    for left, right in zip(layer(x[order], moved), (h, c), strict=True):
        close(left, right[order])


@pytest.mark.square("differences", "tree", engine="reference")
@pytest.mark.square("second", "tree", engine="reference")
def test_tree__matches_finite_differences__twice() -> None:
    layer, x = draw()
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x: Tensor, *values: Tensor) -> Any:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x, PARENTS))

    inputs = (x.requires_grad_(), *values)
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


def test_tree__equals_nothing__no_nodes() -> None:
    h, c = nn.TreeLSTM(3, 4)(torch.zeros(0, 3), [])
    assert h.shape == c.shape == (0, 4)


@pytest.mark.parametrize(
    ("x", "parents", "error", "message"),
    [
        (torch.zeros(3, 2), [1, 2, -1], ShapeError, r"\(N, 3\), not \(3, 2\)"),
        (torch.zeros(3, 3), [1, -1], ShapeError, "3 whole numbers"),
        (torch.zeros(3, 3), [1.0, 2.0, -1.0], ShapeError, "float32"),
        (torch.zeros(3, 3), [1, 3, -1], DataError, r"the parent of node 1 must be -1 or in 0..2, not 3"),
        (torch.zeros(3, 3), [1, -2, -1], DataError, "not -2"),
        (torch.zeros(3, 3), [1, 0, -1], DataError, r"\[0, 1\] are their own ancestors"),
        (torch.zeros(3, 3).double(), [1, 2, -1], ShapeError, "float64"),
    ],
)
def test_tree__rejects_wrong_input(x: Tensor, parents: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nn.TreeLSTM(3, 4)(x, parents)
