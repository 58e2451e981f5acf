"""minLSTM, minGRU and mLSTM on the native core: a whole layer in one call, forward and backward."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.nn.run import exporting, transforming
from lstmkit.nn.scan_course import COURSES, PRECISIONS
from lstmkit.ops import CellLayer, Ways, native_available, run_cell_layer
from lstmkit.ops.engines import is_batched
from lstmkit.ops.native import Wants
from lstmkit.reference import LayerResult
from lstmkit.spec import CellSpec

# How the equations are run where the gradient of a gradient, or many at once, are asked for.
_EQUATIONS = Ways("reference", chunk=64)


def scan_obstacle(cell: str, x: Tensor, dtype: torch.dtype, *, gates: bool) -> str | None:
    """Why the core cannot run a layer of this cell on numbers of ``dtype``; None if it can."""
    if cell not in COURSES:
        return f"the native core has no scan of the cell {cell!r}"
    if not native_available():
        return "the native core was not built; lstmkit doctor says why"
    if x.device.type != "cpu":
        return f"the native core runs on CPUs, not on {x.device.type}"
    if dtype not in PRECISIONS:
        return f"the native scan computes in float32, float64, not {str(dtype).removeprefix('torch.')}"
    if gates:
        return "the native scan does not keep the gates"
    if type(x) not in (Tensor, torch.nn.Parameter):
        return f"the native scan reads plain tensors, not a {type(x).__name__}"
    if torch.compiler.is_compiling() or exporting() or transforming() or torch._C._len_torch_dispatch_stack():
        return "the native scan is no operation that compilers and torch.func transforms know"
    return None


def is_scan(cell: str, engine: str) -> bool:
    """Whether a layer that was given to an engine is run by the core's scan."""
    return engine == "native" and cell in COURSES


def run_scan_layer(layer: CellLayer, ways: Ways) -> LayerResult:
    """All directions of one layer; autograd knows its gradient, and that of the gradient by the equations."""
    spec, x, state, weights, lengths, resets = layer
    if torch.is_grad_enabled() and any(value.requires_grad for value in (x, *state, *weights)):
        output, *last = _ScanLayer.apply(spec, lengths, resets, x, *state, *weights)  # pyright: ignore
    else:
        output, last, _ = COURSES[spec.cell](layer).forward(keep=False)
    return LayerResult(output, tuple(last), None, None)


class _ScanLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spec: CellSpec, lengths: Tensor | None, resets: Tensor | None, *inputs: Tensor) -> Any:
        output, last, kept = COURSES[spec.cell](_layer(spec, lengths, resets, inputs)).forward(keep=True)
        ctx.spec, ctx.count = spec, len(kept)
        ctx.save_for_backward(lengths, resets, output, *last, *kept, *inputs)
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        lengths, resets, output, *rest = ctx.saved_tensors
        n = len(upstream) - 1
        last, kept, inputs = rest[:n], rest[n : n + ctx.count], rest[n + ctx.count :]
        layer, wanted = _layer(ctx.spec, lengths, resets, inputs), ctx.needs_input_grad[3:]
        if is_batched(upstream) or torch.is_grad_enabled():
            return None, None, None, *_differentiate_equations(upstream, layer, wanted)
        wants = Wants(wanted[0], any(wanted[1 : 1 + n]), any(wanted[1 + n :]))
        grads = COURSES[ctx.spec.cell](layer).backward(upstream, output, last, kept, wants)
        return None, None, None, *(grad if want else None for grad, want in zip(grads, wanted, strict=True))


def _layer(spec: CellSpec, lengths: Tensor | None, resets: Tensor | None, inputs: Sequence[Tensor]) -> CellLayer:
    n = 1 + len(spec.entry.states)
    return CellLayer(spec, inputs[0], inputs[1:n], inputs[n:], lengths, resets)


def _differentiate_equations(
    upstream: Sequence[Tensor | None], layer: CellLayer, wanted: Sequence[bool]
) -> list[Tensor | None]:
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        result = run_cell_layer(layer, _EQUATIONS)
    results = zip((result.output, *result.state), upstream, strict=True)
    outputs, grads = zip(*[(value, grad) for value, grad in results if grad is not None], strict=True)
    every = (layer.x, *layer.state, *layer.weights)
    values = [value for value, want in zip(every, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(outputs, values, grads, allow_unused=True, create_graph=create_graph))
    return [next(found) if want else None for want in wanted]
