"""Stages of a tagger, one text for NumPy and torch, with their shapes.

Legend: ``B`` sentences, ``T`` words of a sentence, ``W`` different words of a batch, ``F`` features, ``K`` tags.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lstmkit.runtime.stage_shapes import Options, Shape, Shapes, count, expect

Array = Any


def gather(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(W, F), (B, T) whole numbers -> (B, T, F): the row of each word."""
    rows, places = inputs
    return rows[places]


def gather_shape(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Rows, and where each is wanted."""
    rows, places = inputs
    expect(len(rows) == 2, "the rows are none")
    return ((*places, rows[1]),)


def join_directions(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(D, W, F) -> (W, D*F): the last states of each direction side by side."""
    (states,) = inputs
    return xp.concatenate(list(states), axis=-1)


def join_directions_shape(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """States of one layer."""
    ((directions, rows, features),) = inputs
    expect(directions in (1, 2), "the states are those of several layers")
    return ((rows, directions * features),)


def crf(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Any:
    """Scores of tags (B, T, K) as they are, and beside them those of transitions, which loss and search need."""
    return inputs[0], weights["transitions"], weights["first"], weights["last"]


def crf_shapes(options: Options, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Scores of so many tags."""
    (scores,) = inputs
    expect(scores[-1] == count(options, "tags"), "the scores are those of other tags")
    return (scores, *crf_parameters(options).values())


def crf_parameters(options: Options) -> Shapes:
    """Scores of a tag and the one after it, of first tags and of last tags."""
    tags = count(options, "tags")
    return {"transitions": (tags, tags), "first": (tags,), "last": (tags,)}


def crf_results(options: Options) -> tuple[str, ...]:
    """Names of the scores of transitions."""
    return tuple(crf_parameters(options))
