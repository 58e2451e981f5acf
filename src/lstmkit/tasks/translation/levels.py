"""How the two sides of a pair are cut into tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from lstmkit.features import TextEncoder
from lstmkit.runtime.translate_encoders import Encoders
from lstmkit.spec import OptionError

LEVELS = ("bpe", "word", "character", "letter", "symbol", "wordpiece")
PIECES = ("bpe", "wordpiece")


@dataclass(frozen=True)
class Levels:
    """The level of each side, and the size of its vocabulary.

    Args:
        source: One of ``LEVELS``. ``symbol`` takes what stands between spaces, as phones are written; ``letter`` takes
            letters and marks apart, Hangul syllables into their letters.
        target: As ``source``.
        size: Tokens of a vocabulary; None is all words and characters, 8,000 pieces.
        joint: Whether both sides share one vocabulary, where they have the same level.
        lowercase: Whether upper and lower case are the same.

    Raises:
        OptionError: there is no such level.
    """

    source: str
    target: str
    size: int | None = None
    joint: bool = False
    lowercase: bool = False

    def __post_init__(self) -> None:
        for level in (self.source, self.target):
            if level not in LEVELS:
                raise OptionError(f"a level must be one of {', '.join(map(repr, LEVELS))}, not {level!r}")
        if self.joint and self.source != self.target:
            raise OptionError(f"a joint vocabulary needs one level, not {self.source!r} and {self.target!r}")

    def learn(self, sources: Sequence[str], targets: Sequence[str]) -> Encoders:
        """The vocabularies of these texts."""
        if self.joint:
            both = self._train(chain(sources, targets), self.source)
            return Encoders(both, both)
        return Encoders(self._train(sources, self.source), self._train(targets, self.target))

    def _train(self, texts: Iterable[str], level: str) -> TextEncoder:
        symbols = level == "symbol"
        return TextEncoder.train(
            texts, "word" if symbols else level, self.size, lowercase=self.lowercase, split_punctuation=not symbols
        )
