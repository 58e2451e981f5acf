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
        log_probs, attention = decoder.step(beams.last)
        decoder.keep(*beams.advance(log_probs, attention))
    return [sorted(found, key=lambda one: -one.score)[: search.n_best] for found in beams.finished]


class _Step(NamedTuple):
    """One step of the search: a way back through the beams.

    Args:
        rows: The sentences it was taken for, ascending; ``B``.
        parents: Which beam before the step each beam after it continues, ``(B, K)``.
        symbols: What it adds, ``(B, K)``.
        attention: Of the beams before the step, ``(B, K, S)``.
    """

    rows: Array
    parents: Array
    symbols: Array
    attention: Array


class _Beams:
    """The live hypotheses of the sentences that are not done, and the finished ones of all."""

    def __init__(self, search: Search, lengths: Array, limits: Array) -> None:
        self.search, self.lengths, self.limits = search, lengths, limits
        self.finished: list[list[Hypothesis]] = [[] for _ in lengths]
        self.steps: list[_Step] = []
        self.rows = np.arange(len(lengths))
        self.last = np.full((len(lengths), search.beam), START)
        # All beams begin alike, so only one of them may go on.
        self.scores = np.full(self.last.shape, -np.inf)
        self.scores[:, 0] = 0.0

    def advance(self, log_probs: Array, attention: Array) -> tuple[Array, Array]:
        """Take in one step; which rows and whose histories go on."""
        beam = self.search.beam
        parents, symbols, scores = _best(self.scores, log_probs, 2 * beam)
        ends = symbols == END
        for row, rank in zip(*np.nonzero(ends[:, :beam]), strict=True):
            parent = int(parents[row, rank])
            self._finish(int(self.rows[row]), parent, float(scores[row, rank]), [attention[row, parent]])
        # Each beam ends once at most, so enough of twice as many go on.
        order = np.argsort(ends, axis=1, kind="stable")[:, :beam]
        parents, symbols, scores = (np.take_along_axis(one, order, 1) for one in (parents, symbols, scores))
        self.steps.append(_Step(self.rows, parents, symbols, attention))
        going = self._going(scores)
        self.rows, self.last, self.scores = self.rows[going], symbols[going], scores[going]
        return going, parents[going]

    def _going(self, scores: Array) -> Array:
        """Rows that are not done; what is alive where the limit cuts is finished as it is."""
        going: list[int] = []
        for row, sentence in enumerate(self.rows.tolist()):
            found = self.finished[sentence]
            done = len(found) >= self.search.beam or not np.isfinite(scores[row]).any()
            if not done and len(self.steps) < self.limits[sentence]:
                going.append(row)
                continue
            for beam in range(self.search.n_best - len(found)):
                self._finish(sentence, beam, float(scores[row, beam]), [])
        return np.array(going, np.int64)

    def _finish(self, sentence: int, beam: int, log_probability: float, last: list[Array]) -> None:
        """Keep the answer that a beam has come to; ``last`` is the attention of its end, where it has one."""
        if not np.isfinite(log_probability):
            return
        numbers, attention = self._trace(sentence, beam)
        read = np.stack([*attention, *last])[:, : self.lengths[sentence]]
        score = log_probability / ((5 + len(read)) / 6) ** self.search.length_penalty
        if self.search.coverage_penalty:
            covered = np.clip(read.sum(0, dtype=np.float64), 1e-9, 1.0)
            score += self.search.coverage_penalty * float(np.log(covered).sum())
        self.finished[sentence].append(Hypothesis(numbers, float(score), float(log_probability), read))

    def _trace(self, sentence: int, beam: int) -> tuple[list[int], list[Array]]:
        """The tokens of a beam, and what it read for each."""
        numbers, attention = list[int](), list[Array]()
        for step in reversed(self.steps):
            row = np.searchsorted(step.rows, sentence)
            numbers.append(int(step.symbols[row, beam]))
            beam = int(step.parents[row, beam])
            attention.append(step.attention[row, beam])
        return numbers[::-1], attention[::-1]


def _best(scores: Array, log_probs: Array, count: int) -> tuple[Array, Array, Array]:
    """The best ways on, best first: their beams, tokens and scores, each ``(B, count)``.

    Shape:
        - scores so far ``(B, K)``; log_probs ``(B, K, V)``
    """
    each = min(count, log_probs.shape[2])
    tokens = np.argpartition(log_probs, -each, axis=2)[:, :, -each:]
    totals = scores[:, :, None] + np.take_along_axis(log_probs, tokens, 2)
    flat, tokens = totals.reshape(len(totals), -1), tokens.reshape(len(totals), -1)
    order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    return order // each, np.take_along_axis(tokens, order, 1), np.take_along_axis(flat, order, 1)
