"""One layer of an LSTM with options or masks: by the equations, or as one node of a graph."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lstmkit.nn.arrange import Case
from lstmkit.ops import Ways, cell_layer
from lstmkit.reference import LSTM_VARIANT, LayerResult, Masks, expect_shape, mark_steps, run_layer
from lstmkit.spec import CellSpec, ShapeError


def run_variant(
    spec: CellSpec,
    layer: int,
    weights: Sequence[Tensor],
    case: Case,
    state: Sequence[Tensor],
    masks: Sequence[Masks] | None,
    ways: Ways,
) -> LayerResult:
    """Run one layer of a stack so that autograd and torch.func see its equations.

    Args:
        spec: The stack.
        layer: Which of its layers.
        weights: Its weights, direction after direction, in the order of ``spec.parameter_names()``.
        case: The layer's input, lengths and resets.
        state: Its first states ``(D, B, ...)``.
        masks: Those of each direction; None where nothing was drawn.
        ways: What comes back beside output and states.

    Raises:
        ShapeError: a weight has another shape, dtype or device than the layer needs; people assign them freely.
    """
    directions = _name_weights(spec, layer, weights, case.x)
    collected = [LSTM_VARIANT.collect(spec, own) for own in directions]
    if masks is not None:
        collected = [w._replace(masks=own) for w, own in zip(collected, masks, strict=True)]
    steps, trace = mark_steps(torch, case.x, case.lengths, case.resets), {"cells": ways.cells, "gates": ways.gates}
    return run_layer(torch, LSTM_VARIANT, collected, case.x, tuple(state), steps, **trace)


def run_variant_op(
    document: str, weights: Sequence[Tensor], case: Case, state: Sequence[Tensor], ways: Ways
) -> LayerResult:
    """The same without masks, as one node of a compiled or exported graph; ``document`` describes the layer."""
    output, *rest = cell_layer(document, case.x, list(state), list(weights), case.lengths, case.resets, *ways)
    last, trace = tuple(rest[: len(state)]), rest[len(state) :]
    return LayerResult(output, last, trace[0] if ways.cells else None, trace[-1] if ways.gates else None)


def _name_weights(spec: CellSpec, layer: int, weights: Sequence[Tensor], x: Tensor) -> list[dict[str, Tensor]]:
    names, shapes, values = spec.parameter_names(), spec.parameter_shapes(), iter(weights)
    directions = [{name: next(values) for name in names} for _ in range(spec.num_directions)]
    for suffix, own in zip(spec.layer_suffixes(layer), directions, strict=True):
        for name, value in own.items():
            expect_shape(name + suffix, value, shapes[name + suffix])
            if (value.dtype, value.device) != (x.dtype, x.device):
                found = f"{value.dtype} on {value.device}"
                raise ShapeError(f"{name + suffix} must be {x.dtype} on {x.device}, as the input is, not {found}")
    return directions
