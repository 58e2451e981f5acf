"""The boundary for every cell beside the LSTM: one opaque op per layer and sequence in compiled and exported graphs.

What runs inside is the engine ``reference``, the equations, or ``torch``, ATen's RNN and GRU. Either is differentiated
by autograd inside the gradient's op, which runs the layer again. Outside graphs this op is not used.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.ops.aten_relatives import aten_options, run_aten_stack
from lstmkit.ops.engines import autograd_inside_op
from lstmkit.reference import LayerResult, check_lengths, find_cell, mark_steps, run_layer
from lstmkit.spec import CellSpec


class CellLayer(NamedTuple):
    """What one layer of any cell is given; weights in the catalog's order, direction after direction."""

    spec: CellSpec
    x: Tensor  # (T, B, I, ...)
    state: Sequence[Tensor]  # (D, B, ...) each
    weights: Sequence[Tensor]
    lengths: Tensor | None  # (B,) in 1..T
    resets: Tensor | None  # (T, B)


class Ways(NamedTuple):
    """How a layer is run, and what it gives back beside output and states."""

    engine: str
    cells: bool = False
    gates: bool = False
    chunk: int = 0  # steps at once; 0: one after the other


def run_cell_layer(layer: CellLayer, ways: Ways) -> LayerResult:
    """One layer by one engine, through which autograd and torch.func see."""
    spec, x, state, weights, lengths, resets = layer
    if ways.engine == "torch":
        output, h = run_aten_stack(spec, x, state[0], weights, lengths, aten_options(spec, 1))
        return LayerResult(output, (h,), None, None)
    names, cell = spec.parameter_names(), find_cell(spec)
    n = len(names)
    w = [
        cell.collect(spec, dict(zip(names, weights[d * n : (d + 1) * n], strict=True)))
        for d in range(spec.num_directions)
    ]
    steps = mark_steps(torch, x, lengths, resets)
    return run_layer(torch, cell, w, x, tuple(state), steps, cells=ways.cells, gates=ways.gates, chunk=ways.chunk)


def describe(spec: CellSpec) -> str:
    """A CellSpec as the op takes it."""
    return json.dumps(spec.to_dict())


@cache
def _spec(document: str) -> CellSpec:
    return CellSpec.from_dict(json.loads(document))


@torch.library.custom_op("lstmkit::cell_layer", mutates_args=())
def cell_layer(
    spec: str,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    engine: str,
    cells: bool,
    gates: bool,
    chunk: int,
) -> list[Tensor]:
    """Run all directions of one layer: its output, its states, then cells and gates where they are wanted."""
    if lengths is not None:
        check_lengths(lengths, x.shape[0])
    layer = CellLayer(_spec(spec), x, state, weights, lengths, resets)
    return [value.contiguous() for value in _flat(run_cell_layer(layer, Ways(engine, cells, gates, chunk)))]


def _flat(result: LayerResult) -> list[Tensor]:
    trace = [value for value in (result.cells, result.gates) if value is not None]
    return [result.output, *result.state, *trace]


@cell_layer.register_fake
def _(
    spec: str,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    engine: str,
    cells: bool,
    gates: bool,
    chunk: int,
) -> list[Tensor]:
    (T, B), known = x.shape[:2], _spec(spec)
    D, H, space = known.num_directions, known.hidden_size, known.output_space(tuple(x.shape[3:]))
    results = [x.new_empty(T, B, known.output_size, *space), *(value.new_empty(value.shape) for value in state)]
    if cells:
        results.append(x.new_empty(T, B, D * H, *space))
    if gates:
        results.append(x.new_empty(len(known.gates), T, B, D * H, *space))
    return results


@torch.library.custom_op("lstmkit::cell_layer_backward", mutates_args=())
def cell_layer_backward(
    upstream: Sequence[Tensor],
    present: Sequence[int],
    spec: str,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    engine: str,
    cells: bool,
    gates: bool,
    chunk: int,
) -> list[Tensor]:
    """Gradients with respect to x, each state and each weight, from those of the outputs that ``present`` numbers."""
    with autograd_inside_op():
        values = [value.detach().requires_grad_() for value in (x, *state, *weights)]
        outputs = _outputs(values, present, (spec, len(state), lengths, resets, Ways(engine, cells, gates, chunk)))
        found = torch.autograd.grad(outputs, values, [*upstream], allow_unused=True, materialize_grads=True)
    return [gradient.clone(memory_format=torch.contiguous_format) for gradient in found]


@cell_layer_backward.register_fake
def _(
    upstream: Sequence[Tensor],
    present: Sequence[int],
    spec: str,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    engine: str,
    cells: bool,
    gates: bool,
    chunk: int,
) -> list[Tensor]:
    return [value.new_empty(value.shape) for value in (x, *state, *weights)]


def _outputs(values: Sequence[Tensor], present: Sequence[int], rest: tuple[Any, ...]) -> list[Tensor]:
    spec, num_states, lengths, resets, ways = rest
    x, state, weights = values[0], values[1 : 1 + num_states], values[1 + num_states :]
    results = _flat(run_cell_layer(CellLayer(_spec(spec), x, state, weights, lengths, resets), ways))
    return [results[k] for k in present]


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.spec, x, state, weights, lengths, resets, *ctx.ways = inputs
    ctx.counts, ctx.has = (len(state), len(weights)), (lengths is not None, resets is not None)
    ctx.save_for_backward(x, *state, *weights, *(mask for mask in (lengths, resets) if mask is not None))
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *upstream: Any) -> tuple[Any, ...]:
    x, *rest = ctx.saved_tensors
    resets = rest.pop() if ctx.has[1] else None
    lengths = rest.pop() if ctx.has[0] else None
    num_states, _ = ctx.counts
    state, weights = rest[:num_states], rest[num_states:]
    (grads,) = upstream
    present = [k for k, grad in enumerate(grads) if grad is not None]
    given = [grads[k] for k in present]
    dx, *others = cell_layer_backward(given, present, ctx.spec, x, state, weights, lengths, resets, *ctx.ways)
    return None, dx, others[:num_states], others[num_states:], *(None,) * 6


def _keep_for_double_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    upstream, ctx.present, ctx.spec, x, state, weights, ctx.lengths, ctx.resets, *ctx.ways = inputs
    ctx.counts = len(upstream), len(state), len(weights)
    ctx.save_for_backward(*upstream, x, *state, *weights)


def _double_backward(ctx: Any, tangents: Sequence[Tensor]) -> tuple[Any, ...]:
    n, num_states, _ = ctx.counts
    with torch.enable_grad():
        values = [value.detach().requires_grad_() for value in ctx.saved_tensors]
        upstream, inputs = values[:n], values[n:]
        outputs = _outputs(inputs, ctx.present, (ctx.spec, num_states, ctx.lengths, ctx.resets, Ways(*ctx.ways)))
        first = torch.autograd.grad(outputs, inputs, upstream, create_graph=True, materialize_grads=True)
        wanted = [(g, v) for g, v in zip(first, tangents, strict=True) if g.requires_grad]
        second = torch.autograd.grad(
            [g for g, _ in wanted], values, [v for _, v in wanted], allow_unused=True, materialize_grads=True
        )
    dx, *others = second[n:]
    return [*second[:n]], None, None, dx, others[:num_states], others[num_states:], *(None,) * 6


cell_layer.register_autograd(_backward, setup_context=_keep_for_backward)
cell_layer_backward.register_autograd(_double_backward, setup_context=_keep_for_double_backward)
