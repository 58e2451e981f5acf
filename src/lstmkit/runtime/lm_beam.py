"""Beam search over a language model."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lstmkit.runtime.lm_stream import LMStream
    from lstmkit.runtime.recurrence import State

Array = NDArray[Any]


class _Path(NamedTuple):
    tokens: tuple[int, ...]
    score: float
    state: "State"
    ahead: Array


def search_beam(stream: "LMStream", prompt: Array, length: int, beam: int, forbidden: int) -> list[int]:
    """The most probable continuation among those that were kept.

    Args:
        stream: Reads; it has read nothing yet.
        prompt: What stands before, ``(N,)``.
        length: Tokens to write.
        beam: Continuations that are kept at every step.
        forbidden: Tokens below are never written.
    """
    scores = stream.feed(prompt)[-1]
    paths = [_Path((), 0.0, stream.state, _log_probabilities(scores, forbidden))]
    for place in range(length):
        totals = np.stack([path.score + path.ahead for path in paths])
        best = np.argsort(-totals, axis=None, kind="stable")[:beam]
        kept = [divmod(int(one), totals.shape[1]) for one in best if np.isfinite(totals.flat[one])]
        goes_on = place + 1 < length
        paths = [
            _extend(stream, paths[row], token, float(totals[row, token]), forbidden, goes_on) for row, token in kept
        ]
    return list(paths[0].tokens)


def _extend(stream: "LMStream", path: _Path, token: int, total: float, forbidden: int, goes_on: bool) -> _Path:
    if not goes_on:
        return _Path((*path.tokens, token), total, path.state, path.ahead)
    stream.state = path.state
    ahead = _log_probabilities(stream.step(token), forbidden)
    return _Path((*path.tokens, token), total, stream.state, ahead)


def _log_probabilities(scores: Array, forbidden: int) -> NDArray[np.float64]:
    """Of the tokens that may be written."""
    wide = scores.astype(np.float64)
    wide[:forbidden] = -np.inf
    wide -= wide.max()
    return wide - np.log(np.exp(wide).sum())
