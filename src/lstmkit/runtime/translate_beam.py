"""Beam search over a batch of sentences, in NumPy. It knows no network, only a decoder that can be stepped.

Legend: ``B`` sentences that are not done, ``K`` beams, ``V`` tokens, ``S`` steps of the source, ``T`` steps so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import END, START
from lstmkit.spec import OptionError

Array = NDArray[Any]


class Decoder(Protocol):
    """What is searched with."""

    def step(self, tokens: Array) -> tuple[Array, Array]:
        """The last tokens ``(B, K)`` to log-probabilities ``(B, K, V)`` and attention ``(B, K, S)``."""
        ...

    def keep(self, rows: Array, beams: Array) -> None:
        """Go on with the sentences ``rows (B',)``, each with the histories of its ``beams (B', K)``."""
        ...


@dataclass(frozen=True)
class Search:
    """How to search.

    Args:
        beam: Hypotheses that are followed for each sentence.
        n_best: Answers that are wanted for each sentence.
        length_penalty: 0 favours short answers; 1 divides by nearly the length.
        coverage_penalty: 0 ignores which parts of the source were read; 0.2 is usual.

    Raises:
        OptionError: a value that cannot be.

    Source: Wu et al. (2016), section 7.
    """

    beam: int = 5
    n_best: int = 1
    length_penalty: float = 1.0
    coverage_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name in ("beam", "n_best"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
                raise OptionError(f"{name} must be a whole number from 1 to 1000, not {value!r}")
        if self.n_best > self.beam:
            raise OptionError(f"n_best={self.n_best} answers need a beam of at least as many, not beam={self.beam}")
        for name in ("length_penalty", "coverage_penalty"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
                raise OptionError(f"{name} must be a number from 0 to 100, not {value!r}")


class Hypothesis(NamedTuple):
    """One answer.

    Args:
        numbers: Its tokens, without start and end.
        score: What the search ranks by.
        log_probability: Of the answer and its end.
        attention: ``(T, S)``.
    """

    numbers: list[int]
    score: float
    log_probability: float
    attention: Array


def beam_search(
    decoder: Decoder, lengths: Sequence[int], limits: Sequence[int], search: Search
) -> list[list[Hypothesis]]:
    """The best answers for each sentence, best first.

    Args:
        decoder: Stands before the first step.
        lengths: Steps of each source.
        limits: Tokens that each answer has at most. One that was cut there counts only where too few came to an end.
        search: How to search.

    Source: Wu et al. (2016), equation 14, for the scores.
    """
    beams = _Beams(search, np.asarray(lengths), np.asarray(limits))
    while len(beams.rows):
        log_probs, attention = decoder.step(beams.tokens[:, :, -1])
        decoder.keep(*beams.advance(log_probs, attention))
    return [sorted(found, key=lambda one: -one.score)[: search.n_best] for found in beams.finished]


class _Beams:
    """The live hypotheses of the sentences that are not done, and the finished ones of all."""

    def __init__(self, search: Search, lengths: Array, limits: Array) -> None:
        self.search, self.lengths, self.limits = search, lengths, limits
        count, beam = len(lengths), search.beam
        self.finished: list[list[Hypothesis]] = [[] for _ in range(count)]
        self.rows = np.arange(count)
        self.tokens = np.full((count, beam, 1), START)
        # All beams begin alike, so only one of them may go on.
        self.scores = np.full((count, beam), -np.inf)
        self.scores[:, 0] = 0.0
        self.attention = np.zeros((count, beam, 0, int(lengths.max(initial=0))), np.float32)

    def advance(self, log_probs: Array, attention: Array) -> tuple[Array, Array]:
        """Take in one step; which rows and whose histories go on."""
        beam, self.attention = self.search.beam, np.concatenate([self.attention, attention[:, :, None]], 2)
        parents, symbols, scores = _best(self.scores[:, :, None] + log_probs, 2 * beam)
        ends = symbols == END
        for row, rank in zip(*np.nonzero(ends[:, :beam] & np.isfinite(scores[:, :beam])), strict=True):
            self._finish(row, parents[row, rank], scores[row, rank])
        # Each beam ends once at most, so enough of twice as many go on.
        order = np.argsort(ends, axis=1, kind="stable")[:, :beam]
        parents, symbols, self.scores = (np.take_along_axis(one, order, 1) for one in (parents, symbols, scores))
        rows = np.arange(len(self.rows))[:, None]
        self.tokens = np.concatenate([self.tokens[rows, parents], symbols[:, :, None]], 2)
        self.attention = self.attention[rows, parents]
        going = self._going()
        self.rows, self.tokens, self.scores, self.attention = (
            one[going] for one in (self.rows, self.tokens, self.scores, self.attention)
        )
        return going, parents[going]

    def _going(self) -> Array:
        """Rows that are not done; what is alive where the limit cuts is finished as it is."""
        going: list[int] = []
        for row, sentence in enumerate(self.rows):
            done = len(self.finished[sentence]) >= self.search.beam or not np.isfinite(self.scores[row]).any()
            if not done and self.tokens.shape[2] <= self.limits[sentence]:
                going.append(row)
                continue
            for beam in range(self.search.n_best - len(self.finished[sentence])):
                self._finish(row, beam, self.scores[row, beam])
        return np.array(going, np.int64)

    def _finish(self, row: int, beam: int, log_probability: float) -> None:
        sentence = self.rows[row]
        attention = self.attention[row, beam, :, : self.lengths[sentence]]
        numbers = self.tokens[row, beam, 1:].tolist()
        if not np.isfinite(log_probability):
            return
        score = log_probability / ((5 + len(attention)) / 6) ** self.search.length_penalty
        if self.search.coverage_penalty:
            read = np.clip(attention.sum(0, dtype=np.float64), 1e-9, 1.0)
            score += self.search.coverage_penalty * float(np.log(read).sum())
        self.finished[sentence].append(Hypothesis(numbers, float(score), float(log_probability), attention))


def _best(scores: Array, count: int) -> tuple[Array, Array, Array]:
    """The best of ``(B, K, V)``, best first: their beams, tokens and scores, each ``(B, count)``."""
    flat = scores.reshape(len(scores), -1)
    count = min(count, flat.shape[1])
    found = np.argpartition(-flat, count - 1, axis=1)[:, :count]
    found = np.take_along_axis(found, np.argsort(-np.take_along_axis(flat, found, 1), axis=1, kind="stable"), 1)
    return found // scores.shape[2], found % scores.shape[2], np.take_along_axis(flat, found, 1)
