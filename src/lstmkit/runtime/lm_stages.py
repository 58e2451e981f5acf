"""Last stages of a language model: scores of the next token, which a softmax makes probabilities.

Legend: ``B`` sequences, ``T`` steps, ``F`` features, ``V`` tokens.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lstmkit.runtime.stage_shapes import Options, Shape, Shapes, count, expect

Array = Any

_MOST_GROUPS = 20


def adaptive_softmax(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, T, F) -> logarithms of the probabilities (B, T, V): frequent tokens in full width, rare ones in groups.

    Source: Grave et al. (2017), Efficient softmax approximation for GPUs; laid out as torch has it.
    """
    (x,) = inputs
    first, *_ = ends = options["cutoffs"]
    head = _log_softmax(xp, x @ weights["head.weight"].T)
    parts = [head[..., :first]]
    for k in range(len(ends) - 1):
        narrow = x @ weights[f"tail.{k}.0.weight"].T
        parts.append(_log_softmax(xp, narrow @ weights[f"tail.{k}.1.weight"].T) + head[..., first + k, None])
    return xp.concatenate(parts, axis=-1)


def adaptive_softmax_shape(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """A sequence."""
    (x,) = inputs
    expect(x[-1] == count(options, "features"), "features differ from the input's")
    return ((*x[:-1], _ends(options)[-1]),)


def adaptive_softmax_parameters(options: Options) -> Shapes:
    """The frequent tokens and one place for each group; for each group a narrower layer, and its tokens."""
    ends, features, shrink = _ends(options), count(options, "features"), count(options, "shrink")
    shapes: Shapes = {"head.weight": (ends[0] + len(ends) - 1, features)}
    for k, (start, end) in enumerate(pairwise(ends)):
        width = features // shrink ** (k + 1)
        expect(width > 0, "a group of tokens is left without features")
        shapes |= {f"tail.{k}.0.weight": (width, features), f"tail.{k}.1.weight": (end - start, width)}
    return shapes


def _ends(options: Options) -> list[int]:
    """Where each group of tokens ends; the last end is their number."""
    ends: Any = options.get("cutoffs")
    expect(isinstance(ends, list) and 2 <= len(ends) <= _MOST_GROUPS, "cutoffs must be a list of whole numbers")  # pyright: ignore[reportUnknownArgumentType]
    found = [count({"cutoffs": ends[k]}, "cutoffs") for k in range(len(ends))]  # pyright: ignore[reportUnknownArgumentType]
    expect(all(one < two for one, two in pairwise(found)), "cutoffs must rise")
    return found


def _log_softmax(xp: Any, scores: Array) -> Array:
    scores = scores - xp.amax(scores, -1)[..., None]
    return scores - xp.log(xp.exp(scores).sum(-1))[..., None]
