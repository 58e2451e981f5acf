"""One time-major batch through a stack of any cell."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from lstmkit.nn.arrange import Case, autocast_dtype
from lstmkit.nn.run import is_plain, transforming
from lstmkit.ops import (
    CellLayer,
    Ways,
    aten_options,
    cell_layer,
    run_aten_stack,
    run_aten_stack_packed,
    run_cell_layer,
)
from lstmkit.reference import LayerResult, join_states
from lstmkit.spec import CellSpec

States = tuple[Tensor, ...]


class CellStack(NamedTuple):
    """A module's part in a run: what it and each layer are, those as JSON too, its weights by layer, its dropout."""

    spec: CellSpec
    layers: tuple[CellSpec, ...]
    documents: tuple[str, ...]
    weights: list[list[Tensor]]
    dropout: float
    training: bool


def run_cell_torch(stack: CellStack, case: Case, state: States) -> tuple[Tensor, States]:
    """The whole stack in one call of ATen."""
    spec, _, _, layers, dropout, training = stack
    weights = [weight for layer in layers for weight in layer]
    options = aten_options(spec, spec.num_layers, dropout, training)
    output, h = run_aten_stack(spec, case.x, state[0], weights, case.lengths, options)
    return output, (h,)


def run_cell_torch_packed(stack: CellStack, packed: PackedSequence, state: States) -> tuple[PackedSequence, States]:
    """The same for a PackedSequence."""
    spec, _, _, layers, dropout, training = stack
    weights = [weight for layer in layers for weight in layer]
    options = aten_options(spec, spec.num_layers, dropout, training)
    output, h = run_aten_stack_packed(spec, packed, state[0], weights, options)
    return output, (h,)


def run_cell_layers(
    stack: CellStack, case: Case, state: States, ways: Ways
) -> tuple[Tensor, States, list[LayerResult]]:
    """Layer after layer: in graphs through the op, else so that autograd and torch.func see the equations."""
    dtype = autocast_dtype(case.x)
    if dtype is None:
        return _run_layers(stack, case, state, ways)
    stack = stack._replace(weights=[[weight.to(dtype) for weight in layer] for layer in stack.weights])
    with torch.autocast(case.x.device.type, enabled=False):
        cast = tuple([value.to(dtype) for value in state])
        extra = None if case.extra is None else case.extra.to(dtype)
        return _run_layers(stack, case._replace(x=case.x.to(dtype), extra=extra), cast, ways)


def _run_layers(stack: CellStack, case: Case, state: States, ways: Ways) -> tuple[Tensor, States, list[LayerResult]]:
    x, D = case.x, stack.spec.num_directions
    lengths = None if case.lengths is None else case.lengths.to(x.device)
    opaque = not (is_plain(x) or transforming())
    results: list[LayerResult] = []
    for layer, weights in enumerate(stack.weights):
        if results and stack.dropout:
            x = torch.nn.functional.dropout(x, stack.dropout, stack.training)
        if case.extra is not None:
            x = torch.cat([x, case.extra], 2)
        first = [value[layer * D : (layer + 1) * D] for value in state]
        if opaque:
            found = cell_layer(stack.documents[layer], x, first, weights, lengths, case.resets, [], *ways)
            results.append(_name(found, len(first), ways))
        else:
            results.append(
                run_cell_layer(CellLayer(stack.layers[layer], x, first, weights, lengths, case.resets), ways)
            )
        x = results[-1].output
    return x, join_states(torch, stack.spec, [result.state for result in results]), results


def _name(found: list[Tensor], num_states: int, ways: Ways) -> LayerResult:
    output, state, trace = found[0], tuple(found[1 : 1 + num_states]), found[1 + num_states :]
    return LayerResult(output, state, trace[0] if ways.cells else None, trace[-1] if ways.gates else None)
