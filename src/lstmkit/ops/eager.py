"""The engine ``native`` outside compiled graphs: an autograd node without the cost of an op."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.ops.checks import check_layer
from lstmkit.ops.engines import Layer, differentiate_equations, is_batched
from lstmkit.ops.layer import lstm_layer_backward
from lstmkit.ops.native import Outputs, differentiate_native, run_native


def run_native_layer(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    *,
    trace: bool,
    gates_dtype: torch.dtype | None = None,
) -> Outputs:
    """What ``lstm_layer`` does with the engine ``native``; cells and gates are empty without ``trace``.

    Without ``trace`` the gates may be kept for backward in another type, ``gates_dtype``.
    """
    check_layer(x, h, c, weights, lengths, resets)
    if not (torch.is_grad_enabled() and any(value.requires_grad for value in (x, h, c, *weights))):
        return run_native(x, h, c, weights, lengths, resets, trace=trace)
    results = _NativeLayer.apply(lengths, resets, trace, gates_dtype, x, h, c, *weights)
    return results if trace else (*results, x.new_empty(0), x.new_empty(0))  # pyright: ignore


class _NativeLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        lengths: Tensor | None,
        resets: Tensor | None,
        trace: bool,
        gates_dtype: torch.dtype | None,
        *inputs: Tensor,
    ) -> Any:
        x, h, c, *weights = inputs
        outputs = run_native(x, h, c, weights, lengths, resets, trace=True, gates_dtype=gates_dtype)
        y, _, _, cells, gates = outputs
        ctx.save_for_backward(y, cells, gates, lengths, resets, *inputs)
        ctx.set_materialize_grads(False)
        return outputs if trace else outputs[:3]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        y, cells, gates, lengths, resets, x, h, c, *weights = ctx.saved_tensors
        upstream = (*upstream, None, None)[:5]
        saved = [y, cells, gates]
        wants = {"wants_x": ctx.needs_input_grad[4], "wants_weights": any(ctx.needs_input_grad[7:])}
        layer = Layer(x, h, c, weights, lengths, resets)
        if is_batched(upstream):
            grads = differentiate_equations(upstream, layer)
        elif torch.is_grad_enabled():
            # Somebody wants the gradient of the gradient, which the op knows.
            present = [k for k, grad in enumerate(upstream) if grad is not None]
            given = [grad for grad in upstream if grad is not None]
            every = lstm_layer_backward(given, present, *layer, saved, "native", *wants.values(), 0)
            grads = [grad if want else None for grad, want in zip(every, ctx.needs_input_grad[4:], strict=True)]
        else:
            grads = differentiate_native(upstream, *layer, saved, **wants)
        return None, None, None, None, *grads
