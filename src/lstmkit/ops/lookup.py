"""Rows of a table by their numbers, and sums of several, on the native core: embeddings, and bags of things."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.ops.engines import is_batched
from lstmkit.ops.native_core import PRECISIONS, core, dense, empty, native_available, run_scan, sequence_at

_DTYPES = (torch.float32, torch.float64)


class Bag(NamedTuple):
    """What happens to the rows of a place.

    Args:
        skips_zero: Whether the number 0 stands for nothing.
        is_mean: Whether their sum is divided by their number.
    """

    skips_zero: bool = False
    is_mean: bool = False


def can_look_up(table: Tensor, numbers: Tensor) -> bool:
    """Whether the core knows these kinds of numbers; nobody may look on, neither a compiler nor a transform."""
    return (
        native_available()
        and table.device.type == numbers.device.type == "cpu"
        and table.dtype in _DTYPES
        and numbers.dtype == torch.int64
        and table.dim() == 2
        and table.is_contiguous()
        and not table.is_neg()
        and table.numel() > 0
    )


def look_up(table: Tensor, numbers: Tensor, bag: Bag | None = None) -> Tensor:
    """The row of each number; or of each place the sum or mean of the rows of its numbers.

    Args:
        table: ``(V, F)``
        numbers: ``(...)``, or ``(..., P)`` with ``bag``.
        bag: What happens to the P rows of a place.

    Raises:
        IndexError: a number is none of a row.
    """
    bagged = numbers if bag else numbers.unsqueeze(-1)
    return _LookUp.apply(table, bagged.contiguous(), bag or Bag())  # pyright: ignore[reportReturnType]


class _LookUp(torch.autograd.Function):
    """Linear in the table; its gradient is :class:`_Spread`, and the other way round."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, numbers: Tensor, bag: Bag) -> Tensor:
        ctx.save_for_backward(numbers)
        ctx.bag, ctx.rows = bag, len(table)
        out = empty((*numbers.shape[:-1], table.shape[1]), table.dtype)
        _run(core.look_up, (_describe(table, numbers, bag), table.data_ptr(), out.data_ptr()), table)
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        (grad,), (numbers,) = upstream, ctx.saved_tensors
        spread: Any = _spread_plainly if is_batched(upstream) else _Spread.apply
        return spread(grad, numbers, ctx.bag, ctx.rows), None, None


class _Spread(torch.autograd.Function):
    """A table that is zero but for the rows that were read."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, numbers: Tensor, bag: Bag, rows: int) -> Tensor:
        ctx.save_for_backward(numbers)
        ctx.bag = bag
        # Of (B, T, F) with time first no copy is needed.
        inner, width = max(grad.shape[-2], 1) if grad.dim() > 2 else 1, grad.shape[-1]
        places = dense(grad.reshape(grad.shape[:-1].numel() // inner, inner, width))
        table = empty((rows, width), grad.dtype)
        at = _describe(table, numbers, bag)
        _run(core.look_up_backward, (at, sequence_at(places, 0), inner, table.data_ptr()), table)
        return table

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        return _LookUp.apply(upstream[0].contiguous(), *ctx.saved_tensors, ctx.bag), None, None, None


def _spread_plainly(grad: Tensor, numbers: Tensor, bag: Bag, rows: int) -> Tensor:
    """The same by operations of torch, for many gradients at once."""
    shares = (numbers != 0 if bag.skips_zero else torch.ones_like(numbers)).to(grad.dtype)
    if bag.is_mean:
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1)
    parts = (grad.unsqueeze(-2) * shares.unsqueeze(-1)).reshape(-1, grad.shape[-1])
    return grad.new_zeros(rows, grad.shape[-1]).index_add(0, numbers.flatten(), parts)


def _describe(table: Tensor, numbers: Tensor, bag: Bag) -> tuple[int | bool, ...]:
    things = numbers.shape[-1]
    return *table.shape, numbers.shape[:-1].numel(), things, numbers.data_ptr(), bag.skips_zero, bag.is_mean


def _run(function: Any, arguments: tuple[Any, ...], like: Tensor) -> None:
    run_scan(function, arguments, PRECISIONS[like.dtype])
