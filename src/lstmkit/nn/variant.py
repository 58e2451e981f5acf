"""One layer of an LSTM with options or masks, by the engine that was chosen; in graphs as one node."""

from collections.abc import Sequence

from torch import Tensor

from lstmkit.nn.arrange import Case
from lstmkit.ops import CellLayer, Ways, cell_layer, flatten_masks, run_cell_layer
from lstmkit.reference import LayerResult, Masks, expect_shape
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
    """Run one layer so that autograd sees it.

    Args:
        spec: The layer as a stack of its own.
        layer: Its number in the stack that it comes from.
        weights: Its weights, direction after direction, in the order of ``spec.parameter_names()``.
        case: The layer's input, lengths and resets.
        state: Its first states ``(D, B, ...)``.
        masks: Those of each direction; None where nothing was drawn.
        ways: The engine, and what comes back beside output and states.

    Raises:
        ShapeError: a weight has another shape, dtype or device than the layer needs; people assign them freely.
    """
    _check_weights(spec, layer, weights, case.x)
    return run_cell_layer(CellLayer(spec, case.x, state, weights, case.lengths, case.resets, masks), ways)


def run_variant_op(
    document: str,
    weights: Sequence[Tensor],
    case: Case,
    state: Sequence[Tensor],
    masks: Sequence[Masks] | None,
    ways: Ways,
) -> LayerResult:
    """The same as one node of a compiled or exported graph; ``document`` describes the layer."""
    given = case.x, list(state), list(weights), case.lengths, case.resets, flatten_masks(masks)
    output, *rest = cell_layer(document, *given, *ways)
    last, trace = tuple(rest[: len(state)]), rest[len(state) :]
    return LayerResult(output, last, trace[0] if ways.cells else None, trace[-1] if ways.gates else None)


def _check_weights(spec: CellSpec, layer: int, weights: Sequence[Tensor], x: Tensor) -> None:
    for (own, shape), value in zip(spec.parameter_shapes().items(), weights, strict=True):
        name = own.replace("_l0", f"_l{layer}")
        expect_shape(name, value, shape)
        if (value.dtype, value.device) != (x.dtype, x.device):
            found = f"{value.dtype} on {value.device}"
            raise ShapeError(f"{name} must be {x.dtype} on {x.device}, as the input is, not {found}")
