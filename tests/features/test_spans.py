"""Spans beside conlleval's own two rules, written out as its table of tags."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from lstmkit.features import Span, are_span_tags, read_spans, score_spans, tag_transitions
from lstmkit.spec import LSTMKitError

# conlleval, endOfChunk and startOfChunk: (prefix before, prefix now) where a chunk of one type ends or starts.
ENDS = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O"), ("E", "E"), ("E", "I"), ("E", "B"), ("E", "O")}
ENDS |= {("S", other) for other in "BIESO"} | {(other, "S") for other in "BIE"}
STARTS = {("B", "B"), ("I", "B"), ("E", "B"), ("S", "B"), ("O", "B"), ("O", "I"), ("O", "E"), ("O", "S")}
STARTS |= {("E", "E"), ("E", "I"), ("S", "E"), ("S", "I")} | {(other, "S") for other in "BIES"}


def conlleval_spans(tags: Sequence[str]) -> set[Span]:
    """The script's loop: look at two tags at a time, close what ends, open what starts."""
    found, start = set(), 0
    prefix, kind = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        now, _, its_kind = tag.partition("-")
        if (prefix, now) in ENDS or (prefix != "O" and kind != its_kind):
            found.add(Span(start, place, kind))
        if (prefix, now) in STARTS or (now != "O" and kind != its_kind):
            start = place
        prefix, kind = now, its_kind
    return found


def draw_tags(source: random.Random, length: int) -> list[str]:
    return source.choices(["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in "xy")], k=length)


def test_spans__equal_conlleval__on_any_tags() -> None:
    source = random.Random(0)
    for _ in range(3000):
        tags = draw_tags(source, source.randint(1, 8))
        assert set(read_spans(tags)) == conlleval_spans(tags), tags


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-x I-x O B-x B-x", [(1, 3), (4, 5), (5, 6)]),
        ("I-x I-x O B-x B-x", [(0, 2), (3, 4), (4, 5)]),
        ("S-x B-x E-x U-x B-x L-x", [(0, 1), (1, 3), (3, 4), (4, 6)]),
        ("B-x M-x M-x O", [(0, 3)]),
        ("O", []),
    ],
)
def test_spans__match_hand(tags: str, expected: list[tuple[int, int]]) -> None:
    assert [span[:2] for span in read_spans(tags.split())] == expected


def test_span_scores__match_hand() -> None:
    expected = [["B-x", "I-x", "O", "B-y"], ["B-x", "O", "O"]]
    found = [["B-x", "I-x", "O", "B-x"], ["B-x", "I-x", "O"]]
    scores = score_spans(expected, found)
    # Of three spans, "x" of the first sentence alone was found with its border and type.
    assert scores[""][:2] == (1 / 3, 1 / 3)
    assert scores["x"] == (1 / 3, 1 / 2, 0.4, 2, 3, 1)
    assert scores["y"] == (0.0, 0.0, 0.0, 1, 0, 0)


def test_span_scores__rejects_lengths() -> None:
    with pytest.raises(LSTMKitError, match="each of 2 words, got 1"):
        score_spans([["O", "O"]], [["O"]])


def test_span_tags__never_parts_of_speech() -> None:
    assert are_span_tags(["O", "B-per", "S-x"])
    for tags in (["NOUN", "O"], ["O"], [], ["B-"], ["O", "B-x", "X"]):
        assert not are_span_tags(tags)


def is_legal_bioes(tags: Sequence[str | None]) -> bool:
    """Inside a span of x only x goes on, and what goes on ends."""
    inside = ""
    for tag in tags:
        prefix, _, kind = (tag or "O").partition("-")
        if (prefix in ("I", "E")) != bool(inside) or (inside and kind != inside):
            return False
        inside = kind if prefix in ("B", "I") else ""
    return True


def test_bioes_transitions__equal_spans_that_close() -> None:
    tags = ["O", *(f"{prefix}-{kind}" for kind in "xy" for prefix in "BIES")]
    moves, first, last = tag_transitions(tags)
    for k, a in enumerate(tags):
        assert first[k] == (a[0] not in "IE")
        assert last[k] == (a[0] not in "BI")
        for m, b in enumerate(tags):
            before = [f"B-{a[2:]}"] if a[0] in "IE" else []
            after = [f"E-{b[2:]}"] if b[0] in "BI" else []
            assert moves[k, m] == is_legal_bioes([*before, a, b, *after]), (a, b)


def test_bio_transitions__match_hand() -> None:
    moves, first, last = tag_transitions(["O", "B-x", "I-x", "I-y"], [["B-x", "I-x"]])
    expected = [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 1]]
    np.testing.assert_array_equal(moves, np.array(expected, bool))
    assert first.tolist() == [True, True, False, False]
    assert last.all()


def test_iob1_transitions__match_hand() -> None:
    moves, first, _ = tag_transitions(["O", "B-x", "I-x", "I-y"], [["O", "I-x", "B-x", "I-y"]])
    assert moves[:, 1].tolist() == [False, True, True, False]
    assert moves[:, 2:].all()
    assert first.tolist() == [True, False, True, True]


def test_transitions__preserve_what_is_seen() -> None:
    sentences = [["O", "B-x", "I-x"], ["O", "I-x", "O"]]
    assert not tag_transitions(["O", "B-x", "I-x"], sentences[:1])[0][0, 2]
    assert tag_transitions(["O", "B-x", "I-x"], sentences)[0][0, 2]


def test_other_tags__match_no_rule() -> None:
    assert all(part.all() for part in tag_transitions(["NOUN", "VERB"]))
