"""The engine ``native`` outside compiled graphs: an autograd node without the cost of an op."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.ops.checks import check_layer
from lstmkit.ops.engines import Layer, differentiate_equations, is_batched, zero_state
from lstmkit.ops.layer import lstm_layer_backward
from lstmkit.ops.native import Wants, differentiate_native, kept_gates_dtype, run_native
from lstmkit.ops.native_core import cast, lower, shown_gates

_NOTHING = (None,) * 5


def run_native_layer(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    *,
    trace: bool,
    gates_dtype: torch.dtype | None = None,
) -> tuple[Tensor, ...]:
    """What ``lstm_layer`` does with the engine ``native``; without ``trace`` there are no cells and gates.

    States of None are zeros. Without ``trace`` the gates may be kept for backward otherwise, see ``kept_gates_dtype``.
    Weights of float32 may stand beside an input of bfloat16: they are rounded here, and their gradients are not.
    """
    rounded = [lower(weight, x.dtype) for weight in weights]
    check_layer(x, h, c, rounded, lengths, resets)
    inputs = (x, h, c, *weights)
    if torch.is_grad_enabled() and any(value is not None and value.requires_grad for value in inputs):
        return _NativeLayer.apply(lengths, resets, trace, gates_dtype, rounded, *inputs)  # pyright: ignore
    outputs = run_native(x, h, c, rounded, lengths, resets, trace=trace)
    return outputs if trace else outputs[:3]


class _NativeLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        lengths: Tensor | None,
        resets: Tensor | None,
        trace: bool,
        gates_dtype: torch.dtype | None,
        rounded: list[Tensor],
        *inputs: Any,
    ) -> Any:
        x, h, c = inputs[:3]
        kept_dtype = gates_dtype or kept_gates_dtype(x.dtype)
        outputs = run_native(x, h, c, rounded, lengths, resets, trace=True, gates_dtype=kept_dtype)
        y, _, _, cells, gates = outputs
        # Those that were not rounded are the inputs themselves.
        ctx.save_for_backward(y, cells, gates, lengths, resets, *inputs, *rounded)
        ctx.set_materialize_grads(False)
        return (*outputs[:4], shown_gates(gates)) if trace else outputs[:3]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        y, cells, gates, lengths, resets, x, h, c, *both = ctx.saved_tensors
        weights, rounded = both[: len(both) // 2], both[len(both) // 2 :]
        upstream = (*upstream, None, None)[:5]
        saved = [y, cells, gates]
        needs_x, needs_h, needs_c, *needs_weights = ctx.needs_input_grad[5:]
        wants = Wants(needs_x, needs_h or needs_c, any(needs_weights))
        if not is_batched(upstream) and not torch.is_grad_enabled():
            given = x, h, c, rounded, lengths, resets
            grads = differentiate_native(upstream, *given, saved, wants=wants, weights_dtype=weights[0].dtype)
            return *_NOTHING, *grads
        h, c = zero_state(x, weights) if h is None else (h, c)
        with torch.enable_grad():
            layer = Layer(x, h, c, [cast(weight, x.dtype) for weight in weights], lengths, resets)
        if is_batched(upstream):
            return *_NOTHING, *_like(differentiate_equations(upstream, layer), (x, h, c, *weights))
        # Somebody wants the gradient of the gradient, which the op knows.
        present = [k for k, grad in enumerate(upstream) if grad is not None]
        given = [grad for grad in upstream if grad is not None]
        every = lstm_layer_backward(given, present, *layer, saved, "native", wants, 0)
        grads = [grad if want else None for grad, want in zip(every, ctx.needs_input_grad[5:], strict=True)]
        return *_NOTHING, *_like(grads, (x, h, c, *weights))


def _like(grads: Sequence[Tensor | None], values: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients in the types of what they belong to."""
    return [None if grad is None else cast(grad, value.dtype) for grad, value in zip(grads, values, strict=True)]
