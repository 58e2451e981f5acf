"""A language model's last layer and its loss on the native core: one call forward, one backward."""

from typing import Any, NamedTuple

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
    """The losses ``(N,)`` of ``softmax(x W' + b)`` in nats, float32 where products are of bfloat16.

    A number of ``dtype`` for every row and class is kept for the gradient.

    Args:
        x: ``(N, F)``.
        weight: ``(C, F)``.
        bias: ``(C,)``.
        targets: ``(N,)`` in 0..C.
        dtype: What is multiplied; one that :func:`has_native_loss` allows.
    """
    if torch.is_grad_enabled() and any(each.requires_grad for each in (x, weight, bias)):
        return _NativeLoss.apply(x, weight, bias, targets, dtype)  # pyright: ignore
    return _Call.of(x, weight, bias, targets, dtype).forward(keep=False)[0]


class _NativeLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        call = _Call.of(x, weight, bias, targets, dtype)
        losses, *kept = call.forward(keep=True)
        ctx.save_for_backward(*call, *kept)
        ctx.dtypes = x.dtype, weight.dtype, bias.dtype
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        *given, shares, factors = ctx.saved_tensors
        grads = _Call(*given).backward(shares, factors, upstream[0])
        return *(cast(grad, dtype) for grad, dtype in zip(grads, ctx.dtypes, strict=True)), None, None


class _Call(NamedTuple):
    """What the core is given: x and weight in one dtype, the bias in that of its sums, all dense."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    targets: Tensor

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> "_Call":
        """Arguments of any dtype and layout."""
        bias = _in_pool(bias, real_dtype(dtype))
        return cls(_in_pool(x, dtype), _in_pool(weight, dtype), bias, dense(targets.contiguous()))

    def forward(self, *, keep: bool) -> tuple[Tensor, ...]:
        """The losses, and what backward needs, if it is to come."""
        N, C, dtype = len(self.x), len(self.weight), self.x.dtype
        blocks = -(-C // core.loss_block)
        losses, factors = (empty(shape, real_dtype(dtype)) for shape in ((N,), (blocks, N)))
        shares = empty((blocks, N, core.loss_block) if keep else (0,), dtype)
        self._run(core.loss_forward, (shares.data_ptr() if keep else 0, factors.data_ptr()), losses.data_ptr())
        return losses, shares, factors

    def backward(self, shares: Tensor, factors: Tensor, upstream: Tensor) -> list[Tensor]:
        """Gradients of x, weight and bias, all in the dtype of sums."""
        upstream = dense(upstream.contiguous())
        grads = [empty(each.shape, factors.dtype) for each in (self.x, self.weight, self.bias)]
        kept = shares.data_ptr(), factors.data_ptr()
        self._run(core.loss_backward, kept, upstream.data_ptr(), *(grad.data_ptr() for grad in grads))
        return grads

    def _run(self, function: Any, *arguments: Any) -> None:
        layer = (*self.x.shape, len(self.weight)), *(each.data_ptr() for each in self)
        run_scan(function, (layer, *arguments), PRECISIONS[self.x.dtype])


def _in_pool(value: Tensor, dtype: torch.dtype) -> Tensor:
    """The value, dense and of a dtype; a copy where it was not."""
    return dense(value.contiguous()) if value.dtype == dtype else empty(value.shape, dtype).copy_(value)
