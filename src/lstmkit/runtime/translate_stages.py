"""The stages of a translator beside those that every model has; each one text for NumPy and torch.

Legend: ``B`` sentences, ``T`` steps of the target, ``S`` of the source, ``U`` units, ``F`` features, ``V`` tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lstmkit.reference import attend as read_values
from lstmkit.reference import dot_scores
from lstmkit.reference.arrays import device_of
from lstmkit.runtime.stage_shapes import BATCH, Options, Shape, Shapes, count, expect

Array = Any

ADDITIVE, MULTIPLICATIVE = "additive", "multiplicative"


def attend(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> tuple[Array, Array]:
    """What each query reads of the values, ``(B, T, F)``, and how much of each, ``(B, T, S)``.

    Inputs are queries ``(B, T, U)``, keys ``(B, S, U)``, values ``(B, S, F)`` and lengths ``(B,)``. Additive scores are
    ``v tanh(q + k)`` (Bahdanau et al. 2015, appendix A.1.2), multiplicative ones ``q k`` (Luong et al. 2015, equation
    8); the matrices before them are linear stages.
    """
    queries, keys, values, lengths = inputs
    if options["how"] == ADDITIVE:
        scores = xp.tanh(queries[:, :, None] + keys[:, None]) @ weights["score"]
    else:
        scores = dot_scores(xp, queries, keys, scale=False)
    readable = xp.arange(keys.shape[1], **device_of(keys))[None] < lengths[:, None]
    return read_values(xp, scores, values, readable[:, None])


def attend_shapes(options: Options, inputs: Sequence[Shape]) -> tuple[Shape, Shape]:
    """What is read, and the weights."""
    queries, keys, values, lengths = inputs
    (batch, steps, units), (_, source, features) = queries, values
    expect(options.get("how") in (ADDITIVE, MULTIPLICATIVE), "attention is additive or multiplicative")
    expect(keys == (batch, source, units) and values[0] == batch, "queries, keys and values do not fit")
    expect(lengths == (BATCH,) == (batch,), "lengths are one number a sentence")
    if options["how"] == ADDITIVE:
        expect(units == count(options, "units"), "the score has other units")
    return (batch, steps, features), (batch, steps, source)


def attend_parameters(options: Options) -> Shapes:
    """The vector of additive attention."""
    return {"score": (count(options, "units"),)} if options.get("how") == ADDITIVE else {}


def tanh(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Element by element."""
    return xp.tanh(inputs[0])
