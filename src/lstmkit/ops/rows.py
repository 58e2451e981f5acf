"""Rows of a table by their numbers, with a gradient that touches no fresh memory."""

from typing import Any

import torch
from torch import Tensor, nn

from lstmkit.ops.native_core import PRECISIONS, empty, native_available


def take_rows(table: Tensor, numbers: Tensor, *, sparse: bool = False) -> Tensor:
    """``table[numbers]``, as ``torch.nn.functional.embedding``.

    The gradient of a table is as large as the table, and in a step that reads few of its rows the first touch of so
    many fresh pages takes longer than all else; on CPUs it lies in the memory of the core instead.

    Example:
        >>> take_rows(torch.eye(3), torch.tensor([2, 0])).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if sparse:
        return nn.functional.embedding(numbers, table, sparse=True)
    here = table.device.type == "cpu" and table.dtype in PRECISIONS and native_available()
    if here and table.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _Rows.apply(table, numbers)  # pyright: ignore
    return nn.functional.embedding(numbers, table)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, numbers: Tensor) -> Tensor:
        ctx.save_for_backward(numbers)
        ctx.shape = table.shape
        return nn.functional.embedding(numbers, table)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (numbers,), (grad,) = ctx.saved_tensors, upstream
        table = empty(ctx.shape, grad.dtype).zero_()
        return table.index_add_(0, numbers.flatten(), grad.reshape(-1, table.shape[1])), None
