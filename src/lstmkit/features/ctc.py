"""Decoding of CTC: from what a network gives at every step to the labels of a sequence.

A path names a label or the blank at every step; a sequence of labels is what is left of a path when repeated labels
are merged and then blanks dropped.
"""

from collections.abc import Iterator
from math import exp, inf, log1p
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.spec import DataError, OptionError, ShapeError

Array = NDArray[Any]


class CTCLabels(NamedTuple):
    """A sequence of labels and the logarithm of its probability, or the score that stands for it."""

    labels: tuple[int, ...]
    score: float


# Log-probabilities of all paths to a prefix, of those that end in a blank and of those that end in its last label.
_Beams = dict[tuple[int, ...], tuple[float, float]]


def ctc_greedy(
    log_probs: ArrayLike, lengths: ArrayLike | None = None, *, blank: int = 0, merge_repeated: bool = True
) -> list[CTCLabels]:
    """The labels of the most probable path of each row, which need not be the most probable labels.

    Args:
        log_probs: ``(T, B, C)``, natural logarithms of probabilities. Scores without a normalisation give the same
            labels.
        lengths: Real steps of each row, ``(B,)``; what stands beyond is never read. None is all.
        blank: The class that stands for no label.
        merge_repeated: Whether a label that stands at several steps in a row is one.

    Returns:
        For each row its labels, and the sum of the largest number of every step.

    Raises:
        ShapeError: a shape or length does not fit.
        OptionError: the blank is no class.
        DataError: a real step has NaN or positive infinity.

    Source: Graves et al., "Connectionist temporal classification", ICML 2006, section 3.2, best path decoding.

    Example:
        >>> steps = np.log([[0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
        >>> ctc_greedy(steps[:, None])[0].labels
        (1,)
    """
    found: list[CTCLabels] = []
    for frames in _rows(log_probs, lengths, blank):
        path = frames.argmax(1)
        kept = path != blank
        if merge_repeated:
            kept[1:] &= path[1:] != path[:-1]
        found.append(CTCLabels(tuple(path[kept].tolist()), float(frames.max(1).sum())))
    return found


def ctc_beam_search(
    log_probs: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    blank: int = 0,
    beam_width: int = 100,
    top_paths: int = 1,
) -> list[list[CTCLabels]]:
    """The most probable labels of each row, by a search over prefixes that adds up all paths to each.

    Exact where the beam holds every prefix; else a score is the sum of those paths that were not given up on the way.

    Args:
        log_probs: ``(T, B, C)``, natural logarithms of probabilities.
        lengths: Real steps of each row, ``(B,)``; what stands beyond is never read. None is all.
        blank: The class that stands for no label.
        beam_width: Prefixes that are followed from step to step.
        top_paths: How many sequences of labels are given for each row; fewer where there are no more.

    Returns:
        For each row its best labels first, with the logarithms of their probabilities.

    Raises:
        ShapeError: a shape or length does not fit.
        OptionError: the blank is no class, or there is no beam for so many.
        DataError: a real step has NaN or positive infinity.

    Source: Graves et al., "Connectionist temporal classification", ICML 2006, section 3.2, prefix search; with a beam:
        Graves & Jaitly, "Towards end-to-end speech recognition with recurrent neural networks", ICML 2014.

    Example:
        >>> steps = np.log([[0.6, 0.4], [0.6, 0.4]])
        >>> ctc_greedy(steps[:, None])[0].labels, ctc_beam_search(steps[:, None])[0][0].labels
        ((), (1,))
    """
    if not 1 <= top_paths <= beam_width:
        raise OptionError(f"top_paths must be in 1..beam_width, not {top_paths} of {beam_width}")
    found: list[list[CTCLabels]] = []
    for frames in _rows(log_probs, lengths, blank):
        beams: _Beams = {(): (0.0, -inf)}
        for frame in frames.tolist():
            beams = _best(_grow(beams, frame, blank), beam_width)
        best = _best(beams, top_paths)
        found.append([CTCLabels(labels, _log_add(*ends)) for labels, ends in best.items()])
    return found


def _rows(log_probs: ArrayLike, lengths: ArrayLike | None, blank: int) -> Iterator[Array]:
    """The real steps of each row, ``(T, C)``."""
    values = np.asarray(log_probs)
    if values.ndim != 3 or not values.size or values.dtype.kind != "f":
        raise ShapeError(f"expected log_probs of floats of shape (T, B, C), got {values.dtype} {values.shape}")
    steps, rows, classes = values.shape
    if not 0 <= blank < classes:
        raise OptionError(f"blank must be one of the classes 0..{classes - 1}, not {blank!r}")
    ends = np.full(rows, steps) if lengths is None else np.asarray(lengths)
    whole = ends.shape == (rows,) and ends.dtype.kind in "iu" and ends.min() >= 1 and ends.max() <= steps
    if not whole:
        raise ShapeError(f"lengths must be {rows} whole numbers in 1..{steps}, not {ends.tolist()}")
    for row, end in enumerate(ends):
        frames = values[:end, row]
        if not (frames < inf).all():
            raise DataError(f"row {row} of log_probs has NaN or infinity within its {end} steps")
        yield frames


def _grow(beams: _Beams, frame: list[float], blank: int) -> _Beams:
    """Every prefix after one more step: as it was, or with one more label."""
    grown: _Beams = {}
    for prefix, (in_blank, in_label) in beams.items():
        either = _log_add(in_blank, in_label)
        for label, score in enumerate(frame):
            if label == blank:
                _add(grown, prefix, either + score, -inf)
            elif prefix and label == prefix[-1]:
                # Without a blank between them two of the same are one.
                _add(grown, prefix, -inf, in_label + score)
                _add(grown, (*prefix, label), -inf, in_blank + score)
            else:
                _add(grown, (*prefix, label), -inf, either + score)
    return grown


def _add(beams: _Beams, prefix: tuple[int, ...], in_blank: float, in_label: float) -> None:
    before = beams.get(prefix, (-inf, -inf))
    beams[prefix] = _log_add(before[0], in_blank), _log_add(before[1], in_label)


def _best(beams: _Beams, count: int) -> _Beams:
    """The most probable prefixes that are possible at all, best first."""
    possible = [(_log_add(*ends), prefix) for prefix, ends in beams.items() if max(ends) > -inf]
    possible.sort(key=lambda item: -item[0])
    return {prefix: beams[prefix] for _, prefix in possible[:count]}


def _log_add(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))``."""
    low, high = min(a, b), max(a, b)
    return high if low == -inf else high + log1p(exp(low - high))
