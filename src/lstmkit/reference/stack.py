"""What stands between the layers of a stack: their states in one tensor each, and what goes past a layer."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from lstmkit.reference.arrays import Array, Namespace, affine, sigmoid
from lstmkit.spec import CellSpec


def split_states(spec: CellSpec, state: Sequence[Array]) -> list[tuple[Array, ...]]:
    """The states of a stack as those of each layer, ``(D, B, ...)``."""
    if spec.num_layers == 1:
        return [tuple(state)]
    layers, D = range(spec.num_layers), spec.num_directions
    if not spec.layer_sizes:
        return [tuple(value[layer * D : (layer + 1) * D] for value in state) for layer in layers]
    widths = [[shape[0] for shape in spec.layer_state_shapes(layer).values()] for layer in layers]
    ends = [list(accumulate(own)) for own in zip(*widths, strict=True)]
    return [
        tuple(
            value[..., end[layer] - width : end[layer]]
            for value, end, width in zip(state, ends, widths[layer], strict=True)
        )
        for layer in layers
    ]


def join_states(xp: Namespace, spec: CellSpec, layers: Sequence[Sequence[Array]]) -> tuple[Array, ...]:
    """The inverse of :func:`split_states`."""
    if len(layers) == 1:
        return tuple(layers[0])
    return tuple(xp.concatenate(parts, -1 if spec.layer_sizes else 0) for parts in zip(*layers, strict=True))


def pass_by(
    xp: Namespace, spec: CellSpec, parameters: Mapping[str, Array], layer: int, x: Array, output: Array
) -> Array:
    """What a layer that has read ``x`` hands on, with what goes past it.

    Source: residual: Wu et al., arXiv:1609.08144, 2016; highway: Srivastava, Greff & Schmidhuber,
        arXiv:1505.00387, 2015.
    """
    if spec.skip == "none" or layer == 0:
        return output
    if spec.skip == "residual":
        return output + x
    gate = sigmoid(xp, affine(x, parameters[f"weight_skip_l{layer}"], parameters.get(f"bias_skip_l{layer}")))
    return gate * output + (1 - gate) * x
