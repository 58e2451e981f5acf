"""Words of a text: what is cut, and where it stands."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.features import place_words, split_words


@given(st.text(), st.sets(st.sampled_from(["n't", "'s", "-", "e-mail"])))
def test_words__preserve_their_places(text: str, known: set[str]) -> None:
    words = split_words(text, known.__contains__)
    assert all(word.text == text[word.start : word.end] and word.text for word in words)
    assert all(a.end <= b.start for a, b in pairwise(words))
    left = set(text) - {c for word in words for c in word.text}
    assert not any(character.isalnum() for character in left)


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("Don't stop, J.R.!", "", "Don't|stop|,|J.R|.|!"),
        ("Don't stop.", "n't", "Do|n't|stop|."),
        ("Ann's e-mail", "'s -", "Ann|'s|e|-|mail"),
        ("Ann's e-mail", "e-mail", "Ann's|e-mail"),
        ("See https://a.b/c?d=1 or @ann #fun a.b@c.org", "", "See|https://a.b/c?d=1|or|@ann|#fun|a.b@c.org"),
        ("It cost $4.50 ... 3,000x", "", "It|cost|$|4.50|...|3,000|x"),
        ("日本 (東京)", "", "日|本|(|東|京|)"),
        ("Nice :) ?!... -->", ":) --", "Nice|:)|?|!|.|.|.|--|>"),
        ("東京都に住む", "東京 東京都 住む", "東京都|に|住む"),
        ("हिन्दी में", "", "हिन्दी|में"),
        ("the 4th at 10:30am", "", "the|4th|at|10:30|am"),
        ("Müller\u00a0naïve", "", "Müller|naïve"),
        ("", "", ""),
        (" \t ", "", ""),
    ],
)
def test_words__match_hand(text: str, known: str, expected: str) -> None:
    found = [word.text for word in split_words(text, set(known.split()).__contains__)]
    assert found == [part for part in expected.split("|") if part]


def test_words__preserve_marks_of_decomposed_letters() -> None:
    text = unicodedata.normalize("NFD", "naïve café")
    assert [word.text for word in split_words(text)] == text.split()


def test_places__match_text() -> None:
    text, words = place_words(["He", "said", "``", "no", "''"], 'He said "no"')
    assert text == "He said `` no ''"
    assert [text[word.start : word.end] for word in words] == ["He", "said", "``", "no", "''"]
    text, words = place_words(["a", "a", "b"], "aab  b")
    assert (text, [word.start for word in words]) == ("aab  b", [0, 1, 2])
