"""Spans that tags such as ``B-place I-place O`` mark: reading, scoring, and which tag may follow which.

A prefix says where in a span a word stands: ``B`` begin, ``I`` or ``M`` inside, ``E`` or ``L`` end, ``S`` or ``U``
single; ``O`` is outside of all. IOB1 writes ``B`` only where a span follows another of its type.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import ShapeError

Array = NDArray[Any]

OUTSIDE = "O"
_PREFIXES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


class Span(NamedTuple):
    """Words ``start`` to before ``end``, and what they are."""

    start: int
    end: int
    type: str


class SpanScore(NamedTuple):
    """Precision, recall and F1 of spans, 0 to 1; how many there are, were found, and were found rightly."""

    precision: float
    recall: float
    f1: float
    support: int
    found: int
    correct: int

    @classmethod
    def of(cls, support: int, found: int, correct: int) -> "SpanScore":
        """From counts; a quotient without anything to count is 0."""
        precision, recall = (correct / count if count else 0.0 for count in (found, support))
        f1 = 2 * correct / (found + support) if found + support else 0.0
        return cls(precision, recall, f1, support, found, correct)


def are_span_tags(tags: Iterable[str]) -> bool:
    """Whether these mark spans: each is ``O`` or a prefix with a type, and not all are ``O``.

    Example:
        >>> are_span_tags(["O", "B-person", "I-person"]), are_span_tags(["NOUN", "VERB"])
        (True, False)
    """
    others = set(tags) - {OUTSIDE}
    return bool(others) and all(tag[:1] in _PREFIXES and tag[1:2] == "-" and len(tag) > 2 for tag in others)


def read_spans(tags: Sequence[str]) -> list[Span]:
    """The spans of one sentence, as conlleval reads them: a span that begins without ``B`` is one all the same.

    Source: Tjong Kim Sang & De Meulder, "Introduction to the CoNLL-2003 shared task", and its script conlleval.

    Example:
        >>> read_spans(["B-person", "I-person", "O", "I-place", "B-place"])
        [Span(start=0, end=2, type='person'), Span(start=3, end=4, type='place'), Span(start=4, end=5, type='place')]
    """
    spans: list[Span] = []
    start, before = 0, OUTSIDE
    for place, tag in enumerate((*tags, OUTSIDE)):
        if _parts(before, tag):
            if before != OUTSIDE:
                spans.append(Span(start, place, before[2:]))
            start = place
        before = tag
    return spans


def score_spans(expected: Iterable[Sequence[str]], found: Iterable[Sequence[str]]) -> dict[str, SpanScore]:
    """Scores of each type by name, and of all spans together under ``""``, as conlleval counts them.

    A span is right if its first word, its last word and its type are.

    Args:
        expected: The right tags of each sentence.
        found: The tags to be judged.

    Raises:
        ShapeError: the two differ in length.

    Example:
        >>> score_spans([["B-a", "I-a", "B-b"]], [["B-a", "I-a", "O"]])[""].f1
        0.6666666666666666
    """
    counts = {name: Counter[str]() for name in ("support", "found", "correct")}
    for right, judged in zip(expected, found, strict=True):
        if len(right) != len(judged):
            raise ShapeError(f"expected a tag for each of {len(right)} words, got {len(judged)}")
        wanted, given = set(read_spans(right)), set(read_spans(judged))
        for name, spans in (("support", wanted), ("found", given), ("correct", wanted & given)):
            counts[name].update(span.type for span in spans)
            counts[name][""] += len(spans)
    types = sorted({*counts["support"], *counts["found"], ""})
    return {name: SpanScore.of(*(counts[kind][name] for kind in ("support", "found", "correct"))) for name in types}


def tag_transitions(tags: Sequence[str], seen: Iterable[Sequence[str]] = ()) -> tuple[Array, Array, Array]:
    """Which tag may follow which, which may be first and which last.

    Span tags follow their scheme, which is found in the tags and in the sentences; what the sentences show is allowed
    in any case. Other tags may stand anywhere.

    Args:
        tags: All tags, ``K``.
        seen: Tags of sentences.

    Shape:
        - result: bool ``(K, K)`` from row to column, ``(K,)``, ``(K,)``

    Example:
        >>> tag_transitions(["O", "B-x", "I-x"])[0].astype(int).tolist()
        [[1, 1, 0], [1, 1, 1], [1, 1, 1]]
    """
    pairs = {pair for sentence in seen for pair in zip((None, *sentence), (*sentence, None), strict=True)}
    legal = _rule(tags, pairs) if are_span_tags(tags) else _anything
    whole = np.array([[legal(a, b) or (a, b) in pairs for b in (*tags, None)] for a in (*tags, None)], bool)
    return whole[:-1, :-1], whole[-1, :-1], whole[:-1, -1]


def _rule(tags: Sequence[str], pairs: set[tuple[str | None, str | None]]) -> Any:
    prefixes = {_PREFIXES[tag[0]] for tag in tags if tag != OUTSIDE}
    if prefixes & {"E", "S"}:
        return _legal_bioes
    starts = {_prefix(b) for a, b in pairs if b and b != OUTSIDE and (a or OUTSIDE)[1:] != b[1:]}
    return _legal_iob1 if starts == {"I"} else _legal_bio


def _anything(before: str | None, after: str | None) -> bool:
    return True


def _legal_bio(before: str | None, after: str | None) -> bool:
    return _prefix(after) != "I" or (_prefix(before) in ("B", "I") and _same(before, after))


def _legal_iob1(before: str | None, after: str | None) -> bool:
    return _prefix(after) != "B" or _same(before, after)


def _legal_bioes(before: str | None, after: str | None) -> bool:
    goes_on, is_going_on = _prefix(before) in ("B", "I"), _prefix(after) in ("I", "E")
    return goes_on == is_going_on and (not goes_on or _same(before, after))


def _parts(before: str, tag: str) -> bool:
    """Whether a border of spans lies between two tags."""
    return not _same(before, tag) or _prefix(before) in ("E", "S") or _prefix(tag) in ("B", "S")


def _same(before: str | None, after: str | None) -> bool:
    return (before or OUTSIDE)[1:] == (after or OUTSIDE)[1:]


def _prefix(tag: str | None) -> str:
    return _PREFIXES.get(tag[0], OUTSIDE) if tag and tag != OUTSIDE else OUTSIDE
