"""How texts are cut where nobody says it."""

import pytest

from lstmkit.spec import OptionError
from lstmkit.tasks.translation.levels import Levels

SENTENCES = ["a dog is running through the grass", "two children play", "an old man"] * 5
WORDS = ["abba", "abban", "abból"] * 5
PHONES = ["ɒ bː ɒ", "ɒ bː ɒ n", "d z"] * 5


@pytest.mark.parametrize(
    ("sources", "targets", "expected"),
    [
        (SENTENCES, SENTENCES, ("bpe", "bpe")),
        (WORDS, PHONES, ("letter", "symbol")),
        (WORDS, WORDS, ("letter", "character")),
        (PHONES, SENTENCES, ("symbol", "bpe")),
    ],
)
def test_levels__match_what_texts_are_made_of(sources, targets, expected) -> None:
    chosen = Levels(None, None).chosen(sources, targets)
    assert (chosen.source, chosen.target) == expected


def test_levels__preserve_what_was_given() -> None:
    chosen = Levels("word", None).chosen(WORDS, PHONES)
    assert (chosen.source, chosen.target) == ("word", "symbol")
    assert Levels("bpe", "word").chosen(WORDS, PHONES) == Levels("bpe", "word")


def test_joint_levels__match_both_sides() -> None:
    chosen = Levels(None, None, joint=True).chosen(WORDS, WORDS)
    assert chosen.source == chosen.target == "character"
    assert Levels(None, None, joint=True).chosen(SENTENCES, WORDS).target == "bpe"
    with pytest.raises(OptionError, match="one level"):
        Levels("word", "bpe", joint=True)
