"""The stage that only classifiers have: a bag of things, and its shapes.

Legend: ``P`` things of a step or a word, ``F`` features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lstmkit.runtime.stage_shapes import Options, Shape, Shapes, count

Array = Any


def bag(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(..., P) whole numbers -> (..., F): the mean or sum of the rows of all that are not 0.

    Source: Joulin et al. (2017), Bag of Tricks for Efficient Text Classification; of the letters of a word:
        Bojanowski et al. (2017), Enriching Word Vectors with Subword Information.
    """
    (numbers,) = inputs
    there = numbers > 0
    total = (weights["weight"][numbers] * there[..., None]).sum(-2)
    return total if options["how"] == "sum" else total / xp.asarray(there.sum(-1).clip(1), dtype=total.dtype)[..., None]


def bag_shape(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Numbers of things, how many of them is not fixed."""
    (numbers,) = inputs
    if options.get("how") not in ("mean", "sum"):
        raise ValueError("how must be mean or sum")
    if len(numbers) < 2:
        raise ValueError("there is no axis of things")
    return ((*numbers[:-1], count(options, "features")),)


def bag_parameters(options: Options) -> Shapes:
    """A row for each thing; that of 0, which stands for nothing, is never read."""
    return {"weight": (count(options, "things"), count(options, "features"))}
