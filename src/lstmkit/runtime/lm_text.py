"""How a language model reads and writes text: lines to tokens, tokens to lines."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import END, TextEncoder
from lstmkit.spec import ModelFileError

LEVELS = ("word", "bpe", "character")
LINE_END = "\n"
# Written without a space before them.
_CLOSING = frozenset(".,;:!?)]}%…”’")

Numbers = NDArray[np.int64]


class LanguageText:
    """Tokens of lines.

    Where tokens are characters, the end of a line is one of them; else every line ends in the token ``END``.

    Args:
        level: ``"word"``, ``"bpe"`` or ``"character"``.
        encoder: Cuts a line into tokens.
    """

    def __init__(self, level: str, encoder: TextEncoder) -> None:
        self.level, self.encoder = level, encoder
        self.by_character = level == "character"
        found = encoder.find(LINE_END) if self.by_character else END
        # A text of one line that was cut before its end has none.
        self.line_end = END if found is None else found
        self.forbidden = END + 1 if self.by_character else END  # tokens below are never written

    @classmethod
    def from_dict(cls, document: Any) -> "LanguageText":
        """Read an untrusted document.

        Raises:
            ModelFileError: it does not describe how text is read.
        """
        fields: dict[str, Any] = document if isinstance(document, dict) else {}  # pyright: ignore[reportUnknownVariableType]
        if fields.get("level") not in LEVELS:
            raise ModelFileError("the model file is damaged: it does not say what its tokens are")
        return cls(fields["level"], TextEncoder.from_json(fields.get("tokenizer")))

    def to_dict(self) -> dict[str, Any]:
        """The inverse of :meth:`from_dict`."""
        return {"level": self.level, "tokenizer": self.encoder.to_json()}

    def lines(self, lines: Sequence[str]) -> Numbers:
        """The tokens of whole lines, given without their ends."""
        if self.by_character:
            return self._numbers([line + LINE_END for line in lines], [])
        return self._numbers(lines, [END])

    def text(self, text: str) -> Numbers:
        """The tokens of a text whose last line goes on."""
        *whole, last = text.split(LINE_END)
        return np.concatenate([self.lines(whole), self._numbers([last], [])])

    def _numbers(self, texts: Sequence[str], end: list[int]) -> Numbers:
        rows = [encoded.numbers + end for encoded in self.encoder.encode_many(texts)]
        return np.array([number for row in rows for number in row], np.int64)

    def speller(self, before: Iterable[int] = ()) -> "Speller":
        """Writes what follows some tokens."""
        speller = {"character": Speller, "word": WordSpeller, "bpe": PieceSpeller}[self.level](self)
        for number in before:
            speller.push(int(number))
        return speller


class Speller:
    """Tokens to text, one by one: each call answers with what can be written by now."""

    def __init__(self, text: LanguageText) -> None:
        self._names = [text.encoder.token(number) for number in range(len(text.encoder))]

    def push(self, number: int) -> str:
        """The text that this token adds."""
        return LINE_END if number == END else self._names[number]


class WordSpeller(Speller):
    """Words, with spaces between them."""

    _is_start = True

    def push(self, number: int) -> str:
        """The text that this token adds."""
        if number == END:
            self._is_start = True
            return LINE_END
        name = self._names[number]
        space = "" if self._is_start or name in _CLOSING else " "
        self._is_start = False
        return space + name


class PieceSpeller(Speller):
    """Pieces of words; a character of several bytes may take several of them."""

    def __init__(self, text: LanguageText) -> None:
        self._encoder = text.encoder
        self._line: list[int] = []
        self._written = ""

    def push(self, number: int) -> str:
        """The text that this token adds, which may be none."""
        if number == END:
            self._line, self._written = [], ""
            return LINE_END
        self._line.append(number)
        text = self._encoder.decode(self._line)
        if text.endswith("�"):
            return ""
        new, self._written = _beyond(text, self._written), text
        return new


def _beyond(text: str, written: str) -> str:
    """What a text has behind one that is written already, give or take its spaces: "it '" may go on as "it's"."""
    if text.startswith(written):
        return text[len(written) :]
    place, left = 0, sum(not character.isspace() for character in written)
    while left and place < len(text):
        left, place = left - (not text[place].isspace()), place + 1
    return text[place:]
