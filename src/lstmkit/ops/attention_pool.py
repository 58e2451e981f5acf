"""Attention over the steps of uneven sequences on the native core: forward and backward without a step of padding."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.ops.engines import is_batched
from lstmkit.ops.native_core import PRECISIONS, core, dense, empty, native_available, real_dtype, run_scan, sequence_at
from lstmkit.reference import check_lengths, expect_shape

# x, lengths, weight, bias and v to the pooled steps and their shares.
Equations = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Sequence[Tensor]]


def can_attend(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether the core knows these kinds of numbers; nobody may look on, neither a compiler nor a transform."""
    return (
        native_available()
        and x.device.type == "cpu"
        and x.dtype in PRECISIONS
        and all(weight.dtype == real_dtype(x.dtype) and weight.device.type == "cpu" for weight in weights)
        and x.dim() == 3
        and x.numel() > 0
    )


def run_attention_pool(
    x: Tensor, lengths: Tensor, weight: Tensor, bias: Tensor, v: Tensor, equations: Equations
) -> tuple[Tensor, Tensor]:
    """The mean of each row's real steps by their shares, softmax of ``v tanh(W x + b)``.

    Args:
        x: ``(B, T, F)``, in bfloat16 beside weights of float32 for products of such numbers.
        lengths: ``(B,)``, each in 1..T.
        weight: ``(U, F)``
        bias: ``(U,)``
        v: ``(U,)``
        equations: The same in operations of torch, for the gradient of the gradient.

    Returns:
        ``(B, F)`` and the shares ``(B, T)``, of the weights' type.

    Raises:
        ShapeError: a shape does not fit, or a length cannot be.
    """
    (B, T, F), U = x.shape, len(v)
    shapes = {"lengths": (B,), "weight": (U, F), "bias": (U,), "v": (U,)}
    for (name, shape), value in zip(shapes.items(), (lengths, weight, bias, v), strict=True):
        expect_shape(name, value, shape)
    check_lengths(lengths, T)
    return _AttentionPool.apply(lengths.to("cpu", torch.int64), equations, x, weight, bias, v)  # pyright: ignore


class _AttentionPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lengths: Tensor, equations: Equations, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, *_ = inputs
        (B, T, F), U, real = x.shape, len(weight), weight.dtype
        pooled, shares = empty((B, F), real), empty((B, T), real)
        hidden = empty((B, T, core.attention_pool_width(U)), real)
        held = _Held(lengths, inputs)
        run_scan(core.attention_pool_forward, (held.at, *_addresses(pooled, shares, hidden)), PRECISIONS[x.dtype])
        ctx.equations = equations
        ctx.save_for_backward(lengths, shares, hidden, *inputs)
        ctx.set_materialize_grads(False)
        return pooled, shares

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        lengths, shares, hidden, *inputs = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(upstream):
            return None, None, *_differentiate_equations(ctx, upstream, lengths, inputs)
        held, x = _Held(lengths, inputs), inputs[0]
        (B, T, F), real = x.shape, real_dtype(x.dtype)
        dx = empty((T, B, F), x.dtype)
        grads = [empty(tuple(value.shape), real) for value in inputs[1:]]
        given = [None if grad is None else dense(grad.contiguous()) for grad in upstream]
        to = sequence_at(dx, 0), *_addresses(*grads)
        run_scan(core.attention_pool_backward, (held.at, *_addresses(shares, hidden, *given), *to), PRECISIONS[x.dtype])
        return None, None, dx.transpose(0, 1), *grads


class _Held:
    """The op's inputs as the core takes them; keeps alive what the addresses point to."""

    def __init__(self, lengths: Tensor, inputs: Sequence[Tensor]) -> None:
        x, *weights = inputs
        self.lengths, self.x = lengths.contiguous(), dense(x)
        self.weights = [dense(value.contiguous()) for value in weights]
        (B, T, F), U = x.shape, len(weights[0])
        steps = sequence_at(self.x.transpose(0, 1), 0)
        self.at = (T, B, F, U, *_addresses(self.lengths), steps, *_addresses(*self.weights))


def _addresses(*values: Tensor | None) -> list[int]:
    return [0 if value is None else value.data_ptr() for value in values]


def _differentiate_equations(
    ctx: Any, upstream: Sequence[Tensor | None], lengths: Tensor, inputs: Sequence[Tensor]
) -> list[Tensor | None]:
    create_graph, wanted = torch.is_grad_enabled(), ctx.needs_input_grad[2:]
    with torch.enable_grad():
        results = ctx.equations(inputs[0].to(inputs[1].dtype), lengths, *inputs[1:])
    pairs = [(value, grad) for value, grad in zip(results, upstream, strict=True) if grad is not None]
    outputs, grads = zip(*pairs, strict=True)
    values = [value for value, want in zip(inputs, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(outputs, values, grads, allow_unused=True, create_graph=create_graph))
    return [next(found) if want else None for want in wanted]
