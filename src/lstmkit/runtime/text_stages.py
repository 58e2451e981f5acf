"""Stages over tokens and over sequences of uneven length, one text for NumPy and torch, with their shapes.

Legend: ``B`` sequences, ``T`` steps, ``F`` features, ``U`` units.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lstmkit.reference.arrays import device_of
from lstmkit.runtime.products import times
from lstmkit.runtime.stage_shapes import BATCH, Options, Shape, Shapes, count, expect

Array = Any

POOLS = ("max", "mean", "sum", "last")


def embedding(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Any:
    """(B, ...) whole numbers -> (B, ..., F): the row of each; and all rows, where another stage shares them."""
    rows = weights["weight"][inputs[0]]
    return (rows, weights["weight"]) if is_shared(options) else rows


def is_shared(options: Options) -> bool:
    """Whether the rows are a result as well."""
    found = options.get("shared", False)
    expect(isinstance(found, bool), "shared must be true or false")
    return found


def embedding_shapes(options: Options, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Numbers of tokens."""
    (tokens,) = inputs
    found = (*tokens, count(options, "features"))
    return (found, embedding_parameters(options)["weight"]) if is_shared(options) else (found,)


def embedding_parameters(options: Options) -> Shapes:
    """A row for each token."""
    return {"weight": (count(options, "tokens"), count(options, "features"))}


def tied_linear(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """``(B, T, F)`` and a table ``(V, F)`` of an embedding -> ``(B, T, V)``: Press & Wolf (2017)."""
    x, table = inputs
    return times(x, table) + weights["bias"]


def tied_linear_shapes(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """One number for each token."""
    (*lead, features), table = inputs
    expect(len(lead) > 0 and table == (count(options, "tokens"), features), "the table does not fit")
    return ((*lead, table[0]),)


def tied_linear_parameters(options: Options) -> Shapes:
    """One bias for each token."""
    return {"bias": (count(options, "tokens"),)}


def pool(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, T, F), (B,) -> (B, F): the largest, mean, sum or last of each row's real steps."""
    x, lengths = inputs
    if options["how"] == "last":
        return x[xp.arange(len(x), **device_of(x)), lengths - 1]
    real = _real(xp, x, lengths)[:, :, None]
    if options["how"] == "max":
        return xp.amax(xp.where(real, x, -xp.inf), 1)
    total = xp.where(real, x, 0.0).sum(1)
    return total if options["how"] == "sum" else total / xp.asarray(lengths, dtype=x.dtype)[:, None]


def pool_shape(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """A sequence and its lengths."""
    expect(options.get("how") in POOLS, f"how must be one of {', '.join(POOLS)}")
    return (_pooled(inputs),)


def attention_pool(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Any:
    """(B, T, F), (B,) -> the mean (B, F) of the real steps by their weights (B, T), softmax of ``v tanh(W x + b)``.

    Source: Yang et al. (2016), Hierarchical Attention Networks for Document Classification, eq. 5 to 7.
    """
    x, lengths = inputs
    scores = xp.tanh(x @ weights["weight"].T + weights["bias"]) @ weights["v"]
    scores = xp.where(_real(xp, x, lengths), scores, -xp.inf)
    shares = xp.exp(scores - xp.amax(scores, 1)[:, None])
    shares = shares / shares.sum(1)[:, None]
    return (shares[:, :, None] * x).sum(1), shares


def attention_pool_shapes(options: Options, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """A sequence and its lengths; what is read, and how much of each step."""
    pooled = _pooled(inputs)
    expect(pooled[1] == count(options, "features"), "features differ from the input's")
    count(options, "units")
    return pooled, inputs[0][:2]


def attention_pool_parameters(options: Options) -> Shapes:
    """A small network that scores a step."""
    units, features = count(options, "units"), count(options, "features")
    return {"weight": (units, features), "bias": (units,), "v": (units,)}


def _pooled(inputs: Sequence[Shape]) -> Shape:
    x, lengths = inputs
    expect(len(x) == 3 and x[0] == BATCH and lengths == (BATCH,), "the inputs are no sequence with lengths")
    return (BATCH, x[2])


def _real(xp: Any, x: Array, lengths: Array) -> Array:
    """(B, T): which steps are there."""
    return xp.arange(x.shape[1], **device_of(x))[None] < lengths[:, None]
