"""The boundary for every cell beside the plain LSTM: one opaque op per layer and sequence in graphs.

What runs inside is the engine ``native``, ``torch``, which is ATen's RNN and GRU, or ``reference``, the equations.
Each is differentiated by autograd inside the gradient's op, which runs the layer again. Outside compiled and exported
graphs this op is not used.
"""

import json
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from lstmkit.ops.aten_relatives import aten_options, run_aten_stack
from lstmkit.ops.cell_call import CellLayer, Ways, check_cell_layer
from lstmkit.ops.engines import autograd_inside_op
from lstmkit.ops.native_cell import NativeCell, run_native_cell
from lstmkit.ops.native_scan import SCANS, run_scan_layer
from lstmkit.reference import LSTM_VARIANT, LayerResult, Masks, check_lengths, find_cell, mark_steps, run_layer
from lstmkit.spec import CellSpec


def run_cell_layer(layer: CellLayer, ways: Ways) -> LayerResult:
    """One layer by one engine, through which autograd and torch.func see."""
    spec, x, state, weights, lengths, resets, masks = layer
    if ways.engine == "torch":
        output, h = run_aten_stack(spec, x, state[0], weights, lengths, aten_options(spec, 1))
        return LayerResult(output, (h,), None, None)
    if ways.engine == "native":
        check_cell_layer(layer)
        if spec.cell in SCANS:
            return run_scan_layer(layer, partial(_run_equations, ways=_SCAN_AGAIN))
        cell = NativeCell(spec, lengths, resets, masks, partial(_run_again, layer))
        return run_native_cell(cell, x, state, weights, cells=ways.cells, gates=ways.gates)
    return _run_equations(layer, ways)


# How the equations of a cell that is scanned are run where the gradient of a gradient, or many at once, are asked for.
_SCAN_AGAIN = Ways("reference", chunk=64)


def _run_again(layer: CellLayer, x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]) -> LayerResult:
    has_cells = "c" in layer.spec.entry.states
    return _run_equations(layer._replace(x=x, state=state, weights=weights), Ways("reference", has_cells, True))


def _run_equations(layer: CellLayer, ways: Ways) -> LayerResult:
    spec, x, state, weights, lengths, resets, masks = layer
    names, cell = spec.parameter_names(), LSTM_VARIANT if layer.masks else find_cell(spec)
    n = len(names)
    w = [
        cell.collect(spec, dict(zip(names, weights[d * n : (d + 1) * n], strict=True)))
        for d in range(spec.num_directions)
    ]
    if masks is not None:
        w = [own._replace(masks=drawn) for own, drawn in zip(w, masks, strict=True)]
    steps = mark_steps(torch, x, lengths, resets)
    return run_layer(torch, cell, w, x, tuple(state), steps, cells=ways.cells, gates=ways.gates, chunk=ways.chunk)


def flatten_masks(masks: Sequence[Masks] | None) -> list[Tensor | None]:
    """Masks as the op takes them, direction after direction; none at all is an empty list."""
    return [] if masks is None else [mask for own in masks for mask in own]


def _masks(flat: Sequence[Tensor | None]) -> list[Masks] | None:
    n = len(Masks._fields)
    return [Masks(*flat[k : k + n]) for k in range(0, len(flat), n)] or None


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
    masks: Sequence[Tensor | None],
    engine: str,
    cells: bool,
    gates: bool,
    chunk: int,
) -> list[Tensor]:
    """Run all directions of one layer: its output, its states, then cells and gates where they are wanted."""
    if lengths is not None:
        check_lengths(lengths, x.shape[0])
    layer = CellLayer(_spec(spec), x, state, weights, lengths, resets, _masks(masks))
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
    masks: Sequence[Tensor | None],
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
    masks: Sequence[Tensor | None],
    engine: str,
    cells: bool,
    gates: bool,
    chunk: int,
) -> list[Tensor]:
    """Gradients with respect to x, each state and each weight, from those of the outputs that ``present`` numbers."""
    with autograd_inside_op():
        values = [value.detach().requires_grad_() for value in (x, *state, *weights)]
        outputs = _outputs(
            values, present, (spec, len(state), lengths, resets, masks, Ways(engine, cells, gates, chunk))
        )
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
    masks: Sequence[Tensor | None],
    engine: str,
    cells: bool,
    gates: bool,
    chunk: int,
) -> list[Tensor]:
    return [value.new_empty(value.shape) for value in (x, *state, *weights)]


def _outputs(values: Sequence[Tensor], present: Sequence[int], rest: tuple[Any, ...]) -> list[Tensor]:
    spec, num_states, lengths, resets, masks, ways = rest
    x, state, weights = values[0], values[1 : 1 + num_states], values[1 + num_states :]
    results = _flat(run_cell_layer(CellLayer(_spec(spec), x, state, weights, lengths, resets, _masks(masks)), ways))
    return [results[k] for k in present]


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.spec, x, state, weights, lengths, resets, masks, *ctx.ways = inputs
    ctx.counts = len(state), len(weights)
    ctx.save_for_backward(x, *state, *weights, lengths, resets, *masks)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *upstream: Any) -> tuple[Any, ...]:
    x, *rest = ctx.saved_tensors
    num_states, num_weights = ctx.counts
    state, weights = rest[:num_states], rest[num_states : num_states + num_weights]
    lengths, resets, *masks = rest[num_states + num_weights :]
    (grads,) = upstream
    present = [k for k, grad in enumerate(grads) if grad is not None]
    given = [grads[k] for k in present]
    dx, *others = cell_layer_backward(given, present, ctx.spec, x, state, weights, lengths, resets, masks, *ctx.ways)
    return None, dx, others[:num_states], others[num_states:], None, None, _no_gradients(masks), *(None,) * 4


def _no_gradients(masks: Sequence[Tensor | None]) -> list[None] | None:
    """torch sees a list in one that is of tensors alone, and a single argument in any other."""
    return None if any(mask is None for mask in masks) else [None] * len(masks)


def _keep_for_double_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    upstream, ctx.present, ctx.spec, x, state, weights, ctx.lengths, ctx.resets, ctx.masks, *ctx.ways = inputs
    ctx.counts = len(upstream), len(state), len(weights)
    ctx.save_for_backward(*upstream, x, *state, *weights)


def _double_backward(ctx: Any, tangents: Sequence[Tensor]) -> tuple[Any, ...]:
    n, num_states, _ = ctx.counts
    with torch.enable_grad():
        values = [value.detach().requires_grad_() for value in ctx.saved_tensors]
        upstream, inputs = values[:n], values[n:]
        ways = Ways(*ctx.ways)._replace(engine="reference") if ctx.ways[0] == "native" else Ways(*ctx.ways)
        rest = (ctx.spec, num_states, ctx.lengths, ctx.resets, ctx.masks, ways)
        outputs = _outputs(inputs, ctx.present, rest)
        first = torch.autograd.grad(outputs, inputs, upstream, create_graph=True, materialize_grads=True)
        wanted = [(g, v) for g, v in zip(first, tangents, strict=True) if g.requires_grad]
        second = torch.autograd.grad(
            [g for g, _ in wanted], values, [v for _, v in wanted], allow_unused=True, materialize_grads=True
        )
    dx, *others = second[n:]
    nothing = None, None, _no_gradients(ctx.masks), *(None,) * 4
    return [*second[:n]], None, None, dx, others[:num_states], others[num_states:], *nothing


cell_layer.register_autograd(_backward, setup_context=_keep_for_backward)
cell_layer_backward.register_autograd(_double_backward, setup_context=_keep_for_double_backward)
