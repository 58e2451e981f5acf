"""How the two sides of a pair are cut into tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from lstmkit.features import TextEncoder, check_level, encoder_of
from lstmkit.features.text_choice import is_file
from lstmkit.runtime.translate_encoders import Encoders
from lstmkit.spec import OptionError

LEVELS = ("bpe", "word", "character", "letter", "symbol", "wordpiece")
PIECES = ("bpe", "wordpiece")

# Texts are single words, or symbols such as phones, if at least this part of them is; symbols are few and short.
_MOST = 0.95
_MOST_SYMBOLS, _LONGEST_SYMBOL = 300, 2.5


@dataclass(frozen=True)
class Levels:
    """The level of each side, and the size of its vocabulary.

    Args:
        source: One of ``LEVELS``; None: :meth:`chosen` by the texts. ``symbol`` takes what stands between spaces, as
            phones are written; ``letter`` takes letters and marks apart, Hangul syllables into their letters. Or the
            path of a ``tokenizer.json``.
        target: As ``source``.
        size: Tokens of a vocabulary; None is all words and characters, 8,000 pieces.
        joint: Whether both sides share one vocabulary, where they have the same level.
        lowercase: Whether upper and lower case are the same.

    Raises:
        OptionError: there is no such level.
    """

    source: str | None
    target: str | None
    size: int | None = None
    joint: bool = False
    lowercase: bool = False

    def __post_init__(self) -> None:
        loaded = is_file(self.source) and is_file(self.target)
        for level in (self.source, self.target):
            if level is not None:
                check_level(level, LEVELS, size=loaded and self.size is not None, lowercase=loaded and self.lowercase)
        if self.joint and self.source != self.target:
            raise OptionError(f"a joint vocabulary needs one level, not {self.source!r} and {self.target!r}")

    def chosen(self, sources: Sequence[str], targets: Sequence[str]) -> "Levels":
        """With the levels that nobody gave: letters of single words, symbols of texts made of such, else pieces."""
        if self.joint:
            level = self.source or _guess(chain(sources, targets), "character")
            return replace(self, source=level, target=level)
        source, target = self.source or _guess(sources, "letter"), self.target or _guess(targets, "character")
        return replace(self, source=source, target=target)

    def learn(self, sources: Sequence[str], targets: Sequence[str]) -> Encoders:
        """The vocabularies of these texts, or those of the files."""
        if self.joint or (is_file(self.source) and self.source == self.target):
            both = self._encoder(chain(sources, targets), self.source, writes=True)
            return Encoders(both, both)
        return Encoders(self._encoder(sources, self.source), self._encoder(targets, self.target, writes=True))

    def names(self, encoders: Encoders) -> list[str]:
        """The levels of source and target, those of files by what their tokens are."""
        pairs = zip((self.source, self.target), encoders, strict=True)
        return [encoder.level if is_file(level) else str(level) for level, encoder in pairs]

    def _encoder(self, texts: Iterable[str], level: str | None, *, writes: bool = False) -> TextEncoder:
        assert level is not None, "levels are chosen before vocabularies are learned"
        symbols = level == "symbol"
        return encoder_of(
            "word" if symbols else level,
            lambda: texts,
            writes=writes,
            size=self.size,
            lowercase=self.lowercase,
            split_punctuation=not symbols,
        )


def _guess(texts: Iterable[str], of_words: str) -> str:
    """The level of texts; ``of_words`` is that of single words."""
    count = single = words = letters = 0
    symbols = set[str]()
    for text in texts:
        cut = text.split()
        count, single = count + 1, single + (len(cut) <= 1)
        words, letters = words + len(cut), letters + sum(map(len, cut))
        if len(symbols) <= _MOST_SYMBOLS:
            symbols.update(cut)
    if single >= _MOST * count:
        return of_words
    return "symbol" if len(symbols) <= _MOST_SYMBOLS and letters <= _LONGEST_SYMBOL * words else "bpe"
