"""Pairs of neighbours, counted within bounds."""

from collections import Counter

import numpy as np
import pytest

from lstmkit.runtime.classify_text import TextRow
from lstmkit.tasks.classification import naive_bayes
from lstmkit.tasks.classification.naive_bayes import frequent_pairs

TOKENS = 11


def draw_rows(count: int) -> list[TextRow]:
    """Texts of 1 to 7 tokens, some of them unknown."""
    random = np.random.default_rng(0)
    return [TextRow(random.integers(0, TOKENS, random.integers(1, 8)).tolist(), [], []) for _ in range(count)]


@pytest.mark.parametrize("together", [1, 50, 10**6])
@pytest.mark.parametrize("count", [1, 30, 5000])
def test_pairs__match_brute_force(monkeypatch, together: int, count: int) -> None:
    monkeypatch.setattr(naive_bayes, "_COUNTED_TOGETHER", together)
    rows = draw_rows(count)
    found = Counter(pair for row in rows for pair in zip(row.numbers, row.numbers[1:], strict=False) if all(pair))
    expected = sorted((-times, pair) for pair, times in found.items() if times >= 2)
    assert frequent_pairs(rows, TOKENS) == [pair for _, pair in expected]


def test_pairs__preserve_the_most_frequent__of_more_than_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(naive_bayes, "_COUNTED_TOGETHER", 10)
    monkeypatch.setattr(naive_bayes, "_MOST_COUNTED", 40)
    often = [TextRow([1, 2, 3], [], [])] * 3000
    found = frequent_pairs([*draw_rows(3000), *often, *draw_rows(3000)], TOKENS)
    assert set(found[:2]) == {(1, 2), (2, 3)}
    assert len(found) <= 40
