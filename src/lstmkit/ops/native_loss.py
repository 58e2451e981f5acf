"""A language model's last layer and its loss on the native core: one call forward, one backward."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lstmkit.ops.native_core import PRECISIONS, cast, core, dense, empty, native_available, real_dtype, run_scan


def has_native_loss(x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> bool:
    """Whether the core can multiply these in numbers of ``dtype``, with some classes for every thread."""
    if not native_available() or dtype not in PRECISIONS or torch.compiler.is_compiling():
        return False
    here = all(each.device.type == "cpu" for each in (x, weight, bias))
    return here and _count_blocks(weight) >= torch.get_num_threads()


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
        grads = _Call(*ctx.saved_tensors[:4]).backward(ctx.saved_tensors[4:], upstream[0])
        return *(cast(grad, dtype) for grad, dtype in zip(grads, ctx.dtypes, strict=True)), None, None


class _Call(NamedTuple):
    """What the core is given: x in the dtype of the products, weight and bias in that of their sums, all dense."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    targets: Tensor

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> "_Call":
        """Arguments of any dtype and layout."""
        weight, bias = (cast(each, real_dtype(dtype)).contiguous() for each in (weight, bias))
        return cls(*(dense(each) for each in (cast(x, dtype).contiguous(), weight, bias, targets.contiguous())))

    def forward(self, *, keep: bool) -> tuple[Tensor, ...]:
        """The losses, and what backward needs, if it is to come."""
        N, blocks, dtype = len(self.x), _count_blocks(self.weight), self.x.dtype
        losses, factors = (empty(shape, real_dtype(dtype)) for shape in ((N,), (blocks, N)))
        shares = empty((blocks, N, core.loss_block) if keep else (0,), dtype)
        rounded = empty(self.weight.shape if keep and dtype != factors.dtype else (0,), dtype)
        kept = shares, factors, rounded
        self._run(core.loss_forward, _addresses(kept), losses.data_ptr())
        return losses, *kept

    def backward(self, kept: Sequence[Tensor], upstream: Tensor) -> list[Tensor]:
        """Gradients of x, weight and bias, all in the dtype of sums."""
        upstream = dense(upstream.contiguous())
        grads = [empty(each.shape, self.bias.dtype) for each in (self.x, self.weight, self.bias)]
        self._run(core.loss_backward, _addresses(kept), upstream.data_ptr(), *_addresses(grads))
        return grads

    def _run(self, function: Any, *arguments: Any) -> None:
        layer = (*self.x.shape, len(self.weight)), *_addresses(self)
        run_scan(function, (layer, *arguments), PRECISIONS[self.x.dtype])


def _count_blocks(weight: Tensor) -> int:
    """Blocks of classes, the last of which may have fewer."""
    return -(-len(weight) // core.loss_block)


def _addresses(values: Iterable[Tensor]) -> tuple[int, ...]:
    """Where they begin; 0 where nothing is in them."""
    return tuple(value.data_ptr() if value.numel() else 0 for value in values)
