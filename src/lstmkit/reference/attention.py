"""Attention: how much each query reads of each key, and what it gets. One text for NumPy and torch."""

from math import sqrt

from lstmkit.reference.arrays import Array, Namespace, affine


def additive_scores(
    xp: Namespace, query: Array, key: Array, to_query: Array, to_key: Array, v: Array, bias: Array | None
) -> Array:
    """``v tanh(W q + U k + b)``: Bahdanau, Cho & Bengio (2015), appendix A.1.2.

    Shape:
        - query ``(B, Tq, Q)``, key ``(B, Tk, K)``, to_query ``(A, Q)``, to_key ``(A, K)``, v and bias ``(A,)``;
          scores ``(B, Tq, Tk)``
    """
    both = affine(query, to_query, bias)[:, :, None] + affine(key, to_key, None)[:, None]
    return xp.tanh(both) @ v


def dot_scores(xp: Namespace, query: Array, key: Array, scale: bool) -> Array:
    """``q k``, over the square root of their size if scaled: Luong et al. (2015), eq. 8; Vaswani et al. (2017), eq. 1.

    Shape:
        - query ``(..., Tq, K)``, key ``(..., Tk, K)``; scores ``(..., Tq, Tk)``
    """
    scores = query @ xp.swapaxes(key, -1, -2)
    return scores / sqrt(query.shape[-1]) if scale else scores


def attend(xp: Namespace, scores: Array, value: Array, readable: Array | None) -> tuple[Array, Array]:
    """Weights, a softmax over the keys that may be read, and the values' mean by them.

    Shape:
        - scores and weights ``(..., Tq, Tk)``, value ``(..., Tk, V)``, readable bool, as scores, with at least one key
          for each query; result ``(..., Tq, V)``
    """
    if readable is not None:
        scores = xp.where(readable, scores, -xp.inf)
    e = xp.exp(scores - xp.amax(scores, -1)[..., None])
    weights = e / e.sum(-1)[..., None]
    return weights @ value, weights
