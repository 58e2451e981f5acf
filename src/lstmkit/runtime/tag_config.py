"""What a tagger knows beside its weights, as the model file keeps it."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from lstmkit.features import Vocabulary
from lstmkit.spec import ModelFileError

UNKNOWN = "<unk>"
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class TagConfig:
    """What a tagger knows beside its weights.

    Args:
        tags: What a word can be, ``K``.
        words: Keys of the words that have rows of their own; number 0 is every other word.
        characters: Number 0 is every other character.
        labels: What a sentence can be, or None where sentences have no labels.
        lowercase: Whether texts lose their capitals before anything else.
        column: Where files have the tags.
    """

    tags: Vocabulary
    words: Vocabulary
    characters: Vocabulary
    labels: Vocabulary | None = None
    lowercase: bool = False
    column: str | int = "last"

    def spelling(self, word: str) -> str:
        """The word as its characters are read."""
        text = unicodedata.normalize("NFC", word)
        return text.lower() if self.lowercase else text

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        lists = {name: getattr(self, name).to_list() for name in ("tags", "words", "characters")}
        labels = None if self.labels is None else self.labels.to_list()
        return {**lists, "labels": labels, "lowercase": self.lowercase, "column": self.column}

    @classmethod
    def from_dict(cls, document: Any) -> "TagConfig":
        """Read the configuration from an untrusted document.

        Raises:
            ModelFileError: it is not one.
        """
        fields: dict[str, Any] = document if isinstance(document, dict) else {}  # pyright: ignore[reportUnknownVariableType]
        tags, words, characters = (Vocabulary.from_list(fields.get(name)) for name in ("tags", "words", "characters"))
        labels = fields.get("labels")
        lowercase, column = fields.get("lowercase"), fields.get("column")
        if not isinstance(lowercase, bool) or isinstance(column, bool) or not isinstance(column, str | int):
            raise ModelFileError("the model file is damaged: it does not say how a tagger reads its words")
        return cls(tags, words, characters, None if labels is None else Vocabulary.from_list(labels), lowercase, column)


def word_key(word: str) -> str:
    """What words share that have one row: upper and lower case, and all digits, are the same.

    Example:
        >>> word_key("May-2017"), word_key("MAY-1999")
        ('may-0000', 'may-0000')
    """
    return _DIGIT.sub("0", unicodedata.normalize("NFC", word).lower())
