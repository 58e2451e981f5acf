"""minLSTM, minGRU and mLSTM on the native core: a whole layer in one call, forward and backward."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.ops.cell_call import CellLayer
from lstmkit.ops.engines import is_batched
from lstmkit.ops.native import Wants
from lstmkit.ops.scan_courses import COURSES
from lstmkit.reference import LayerResult
from lstmkit.spec import CellSpec

SCANS = tuple(COURSES)

Equations = Callable[[CellLayer], LayerResult]


def run_scan_layer(layer: CellLayer, equations: Equations) -> LayerResult:
    """All directions of one layer; autograd knows its gradient, and that of the gradient by the equations."""
    spec, x, state, weights, lengths, resets, _ = layer
    if torch.is_grad_enabled() and any(value.requires_grad for value in (x, *state, *weights)):
        output, *last = _ScanLayer.apply(spec, lengths, resets, equations, x, *state, *weights)  # pyright: ignore
    else:
        output, last, _ = COURSES[spec.cell](layer).forward(keep=False)
    return LayerResult(output, tuple(last), None, None)


class _ScanLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        spec: CellSpec,
        lengths: Tensor | None,
        resets: Tensor | None,
        equations: Equations,
        *inputs: Tensor,
    ) -> Any:
        output, last, kept = COURSES[spec.cell](_layer(spec, lengths, resets, inputs)).forward(keep=True)
        ctx.spec, ctx.count, ctx.equations = spec, len(kept), equations
        ctx.save_for_backward(lengths, resets, output, *last, *kept, *inputs)
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        lengths, resets, output, *rest = ctx.saved_tensors
        n = len(upstream) - 1
        last, kept, inputs = rest[:n], rest[n : n + ctx.count], rest[n + ctx.count :]
        layer, wanted = _layer(ctx.spec, lengths, resets, inputs), ctx.needs_input_grad[4:]
        if is_batched(upstream) or torch.is_grad_enabled():
            return None, None, None, None, *_differentiate_equations(ctx.equations, upstream, layer, wanted)
        wants = Wants(wanted[0], any(wanted[1 : 1 + n]), any(wanted[1 + n :]))
        grads = COURSES[ctx.spec.cell](layer).backward(upstream, output, last, kept, wants)
        return None, None, None, None, *(grad if want else None for grad, want in zip(grads, wanted, strict=True))


def _layer(spec: CellSpec, lengths: Tensor | None, resets: Tensor | None, inputs: Sequence[Tensor]) -> CellLayer:
    n = 1 + len(spec.entry.states)
    return CellLayer(spec, inputs[0], inputs[1:n], inputs[n:], lengths, resets)


def _differentiate_equations(
    equations: Equations, upstream: Sequence[Tensor | None], layer: CellLayer, wanted: Sequence[bool]
) -> list[Tensor | None]:
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        result = equations(layer)
    results = zip((result.output, *result.state), upstream, strict=True)
    outputs, grads = zip(*[(value, grad) for value, grad in results if grad is not None], strict=True)
    every = (layer.x, *layer.state, *layer.weights)
    values = [value for value, want in zip(every, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(outputs, values, grads, allow_unused=True, create_graph=create_graph))
    return [next(found) if want else None for want in wanted]
