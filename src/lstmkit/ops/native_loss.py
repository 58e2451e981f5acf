"""A language model's last layer and its loss on the native core: one call forward, one backward."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lstmkit.ops.native_core import PRECISIONS, cast, core, dense, empty, native_available, real_dtype, run_scan


def has_native_loss(x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> bool:
    """Whether the core can multiply these in numbers of ``dtype``."""
    if not native_available() or dtype not in PRECISIONS or torch.compiler.is_compiling():
        return False
    return all(each.device.type == "cpu" for each in (x, weight, bias))


def run_native_loss(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
    """The losses ``(N,)`` of ``softmax(x W' + b)`` in nats, in the type of ``weight``.

    Products are those of ``dtype``, of which ``x`` may be. What lies between is kept for the gradient: a number of
    ``dtype`` for every row and class.

    Args:
        x: ``(N, F)``.
        weight: ``(C, F)``.
        bias: ``(C,)``.
        targets: ``(N,)`` in 0..C.
        dtype: One that :func:`has_native_loss` allows.
    """
    if torch.is_grad_enabled() and any(each.requires_grad for each in (x, weight, bias)):
        return _NativeLoss.apply(x, weight, bias, targets, dtype)  # pyright: ignore
    return _Call(x, weight, bias, targets, dtype).forward(None, empty(_factors_shape(x, weight), weight.dtype))


class _NativeLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        factors = empty(_factors_shape(x, weight), weight.dtype)
        shares = empty((*factors.shape, core.loss_block), dtype)
        ctx.save_for_backward(x, weight, bias, targets, shares, factors)
        return _Call(x, weight, bias, targets, dtype).forward(shares, factors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, *rest, shares, factors = ctx.saved_tensors
        dx, dweight, dbias = _Call(x, *rest, shares.dtype).backward(shares, factors, upstream[0])
        return cast(dx, x.dtype), dweight, dbias, None, None


class _Call:
    """Arguments as the core takes them; keeps alive what the addresses point to."""

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> None:
        values = cast(x, dtype), weight, bias, targets
        self._values = [dense(each.contiguous()) for each in values]
        self._sizes = (*x.shape, len(weight))
        self._dtype = dtype

    def forward(self, shares: Tensor | None, factors: Tensor) -> Tensor:
        losses = empty(self._sizes[:1], factors.dtype)
        kept = 0 if shares is None else shares.data_ptr(), factors.data_ptr()
        self._run(core.loss_forward, kept, losses.data_ptr())
        return losses

    def backward(self, shares: Tensor, factors: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, in the type of ``factors``, weight and bias."""
        N, F, C = self._sizes
        upstream = dense(upstream.contiguous())
        grads = [empty(shape, factors.dtype) for shape in ((N, F), (C, F), (C,))]
        kept = shares.data_ptr(), factors.data_ptr()
        self._run(core.loss_backward, kept, upstream.data_ptr(), *(grad.data_ptr() for grad in grads))
        dx, dweight, dbias = grads
        return dx, dweight, dbias

    def _run(self, function: Any, *arguments: Any) -> None:
        layer = self._sizes, *(each.data_ptr() for each in self._values)
        run_scan(function, (layer, *arguments), PRECISIONS[self._dtype])


def _factors_shape(x: Tensor, weight: Tensor) -> tuple[int, int]:
    """A factor of every row in each block of classes."""
    return -(-len(weight) // core.loss_block), len(x)
