"""Edit distance against its recursive definition, and the rates made of it."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.features import edit_distance, token_error_rate, word_error_rate
from lstmkit.spec import DataError

texts = st.text("abc", max_size=7)


@cache
def naive(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    same = one[0] == other[0]
    return min(naive(one[1:], other) + 1, naive(one, other[1:]) + 1, naive(one[1:], other[1:]) + (not same))


@given(texts, texts)
def test_edit_distance__matches_its_definition(one: str, other: str) -> None:
    assert edit_distance(one, other) == naive(one, other)


def test_rates__equal_counts_by_hand() -> None:
    found, expected = [["a", "b"], [], ["c"]], [["a", "x", "b"], ["y"], ["c"]]
    assert word_error_rate(found, expected) == pytest.approx(100 * 2 / 3)
    assert token_error_rate(found, expected) == pytest.approx(100 * 2 / 5)
    assert token_error_rate([["a", "b", "c"]], [["x"]]) == 300


@pytest.mark.parametrize("rate", [word_error_rate, token_error_rate])
@pytest.mark.parametrize(("found", "expected"), [([], []), ([["a"]], [["a"], ["b"]])])
def test_rates__reject_uneven_or_empty_lists(rate, found, expected) -> None:
    with pytest.raises(DataError, match="as many answers as references"):
        rate(found, expected)


def test_token_error_rate__rejects_references_without_tokens() -> None:
    with pytest.raises(DataError, match="no token is expected"):
        token_error_rate([["a"]], [[]])
