"""The engine ``native`` outside compiled graphs: an autograd node without the cost of an op."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
) -> Outputs:
    """What ``lstm_layer`` does with the engine ``native``; cells and gates are empty without ``trace``."""
    if not (torch.is_grad_enabled() and any(value.requires_grad for value in (x, h, c, *weights))):
        return run_native(x, h, c, weights, lengths, resets, trace=trace)
    results = _NativeLayer.apply(lengths, resets, trace, x, h, c, *weights)
    return results if trace else (*results, x.new_empty(0), x.new_empty(0))  # pyright: ignore


class _NativeLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lengths: Tensor | None, resets: Tensor | None, trace: bool, *inputs: Tensor) -> Any:
        x, h, c, *weights = inputs
        outputs = run_native(x, h, c, weights, lengths, resets, trace=True)
        y, _, _, cells, gates = outputs
        ctx.masks = lengths, resets
        ctx.save_for_backward(y, cells, gates, *inputs)
        ctx.set_materialize_grads(False)
        return outputs if trace else outputs[:3]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        y, cells, gates, x, h, c, *weights = ctx.saved_tensors
        lengths, resets = ctx.masks
        upstream = (*upstream, None, None)[:5]
        saved = [y, cells, gates]
        wants = {"wants_x": ctx.needs_input_grad[3], "wants_weights": any(ctx.needs_input_grad[6:])}
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
            # Somebody wants the gradient of the gradient or many gradients at once, which the op knows.
            present = [k for k, grad in enumerate(upstream) if grad is not None]
            given = [grad for grad in upstream if grad is not None]
            every = lstm_layer_backward(
                given, present, x, h, c, weights, lengths, resets, saved, "native", *wants.values(), 0
            )
            grads = [grad if want else None for grad, want in zip(every, ctx.needs_input_grad[3:], strict=True)]
        else:
            grads = differentiate_native(upstream, x, h, c, weights, lengths, resets, saved, **wants)
        return None, None, None, *grads
