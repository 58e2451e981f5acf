"""Text to numbers and back, by Hugging Face tokenizers. What an encoder knows is one JSON text."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from lstmkit.features import text_levels
from lstmkit.features.text_document import Description
from lstmkit.spec import DataError, ModelFileError, OptionError, import_extra

UNKNOWN, START, END = 0, 1, 2
LEVELS = ("word", "character", "letter", "bpe", "wordpiece")


class Encoded(NamedTuple):
    """One text in pieces.

    Args:
        numbers: Of the tokens.
        tokens: As the vocabulary spells them.
        offsets: Where each begins and ends in the text as it was given, in characters.
    """

    numbers: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]


class TextEncoder:
    """Cuts texts into tokens and numbers them.

    The numbers 0, 1 and 2 are always ``<unk>``, ``<s>`` and ``</s>``: unknown, start, end. Texts are brought into the
    normal form C of Unicode; a text never contains the start or the end by itself.

    Args:
        document: What :meth:`to_json` gives; :meth:`train`, :meth:`from_json` and :meth:`from_file` are the ways to it.

    Attributes:
        level: What a token is: ``"word"`` for all that stand alone, characters too; ``"wordpiece"``; ``"bpe"`` for all
            other pieces.
        writes: Whether tokens become text again: pieces do not where nothing says how to join them.
        is_empty: Whether there is no token but the special ones.

    Example:
        >>> encoder = TextEncoder.train(["the cat sat", "the dog sat"], "word")
        >>> encoder.encode("the bird sat").numbers, encoder.decode([4, 6, 3])
        ([4, 0, 3], 'the dog sat')
    """

    def __init__(self, document: str) -> None:
        description = Description(document)
        self._tokenizer = import_extra("tokenizers", "text").Tokenizer.from_str(description.to_json())
        self._tokenizer.encode_special_tokens = True
        self.level, self.writes, self._adds_space = description.level, description.writes, description.adds_space
        numbers: dict[str, int] = self._tokenizer.get_vocab()
        if len(set(numbers.values())) < len(numbers):
            raise ValueError("two of its tokens have one number")
        self._count = max(numbers.values()) + 1
        ours = [self._tokenizer.id_to_token(number) for number in range(len(text_levels.SPECIALS))]
        # A tokenizer of someone else begins with other tokens; its numbers follow ours.
        self._shift = 0 if ours == list(text_levels.SPECIALS) else len(text_levels.SPECIALS)
        # Its numbers for what is unknown, or in no text.
        self._strange: set[int] = {numbers[description.unknown]} | (set() if self._shift else {UNKNOWN, START, END})
        self.is_empty = self._strange.issuperset(numbers.values())

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        level: str,
        size: int | None = None,
        *,
        min_count: int = 1,
        lowercase: bool = False,
        split_punctuation: bool = True,
    ) -> Self:
        """Learn a vocabulary.

        Args:
            texts: Read once; they need not fit into memory.
            level: ``"word"``, ``"character"`` (what a reader takes for one), ``"letter"`` (letters and marks apart,
                Hangul syllables as their letters), ``"bpe"`` or ``"wordpiece"``.
            size: How many tokens at most; None: all words or characters, 8,000 pieces.
            min_count: Rarer words, characters and pairs are left out.
            lowercase: Take upper and lower case for the same.
            split_punctuation: Words end at punctuation; otherwise at spaces alone.

        Raises:
            OptionError: there is no such level, or a number is impossible.
            DataError: the texts are empty.
            MissingExtraError: the extra ``text`` is missing.
        """
        if level not in LEVELS:
            raise OptionError(f"level must be one of {', '.join(map(repr, LEVELS))}, not {level!r}")
        for name, count in (("size", 1 if size is None else size), ("min_count", min_count)):
            if type(count) is not int or count < 1:
                raise OptionError(f"{name} must be a whole number of at least 1, not {count!r}")
        tokenizer = text_levels.build(level, lowercase, split_punctuation)
        trainer = text_levels.trainer(level, size, min_count)
        tokenizer.train_from_iterator(texts, trainer)
        if level in text_levels.WHOLE:
            tokenizer = text_levels.number_specials_first(tokenizer)
        encoder = cls(tokenizer.to_str())
        # Pieces of bytes are there before any text is.
        if encoder.is_empty:
            raise DataError("there is no token in these texts; give texts that are not empty")
        return encoder

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read an untrusted document.

        Raises:
            ModelFileError: it describes no tokenizer.
            MissingExtraError: the extra ``text`` is missing.
        """
        import_extra("tokenizers", "text")
        try:
            return cls(document)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the library is written in Rust, whose panics are no Exception
            brief = (str(error).splitlines() or [""])[0][:100]
            raise ModelFileError(f"the model file is damaged: its tokenizer cannot be read ({brief})") from None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Take over a ``tokenizer.json`` of Hugging Face tokenizers.

        Its tokens keep their order: number ``n`` becomes ``n + 3``, unless 0, 1 and 2 are ``<unk>``, ``<s>`` and
        ``</s>`` there as well. Its token for what is unknown becomes 0; where it has none, it gets one.

        Raises:
            DataError: the file is missing, no tokenizer, or has no tokens.
            MissingExtraError: the extra ``text`` is missing.
        """
        try:
            encoder = cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"cannot read {os.fspath(path)}: {error.strerror}") from None
        except (UnicodeDecodeError, ModelFileError):
            raise DataError(
                f"{os.fspath(path)} is no tokenizer; give the tokenizer.json that Hugging Face tokenizers save, "
                "with model and vocabulary in it"
            ) from None
        if encoder.is_empty:
            raise DataError(f"the tokenizer {os.fspath(path)} has no tokens; train it first")
        return encoder

    def to_json(self) -> str:
        """All that the encoder knows."""
        return self._tokenizer.to_str()

    def __len__(self) -> int:
        return self._count + self._shift

    def find(self, token: str) -> int | None:
        """The number of a token, or None."""
        if token in text_levels.SPECIALS:
            return text_levels.SPECIALS.index(token)
        found = self._tokenizer.token_to_id(token)
        return None if found is None else self._ours([found])[0]

    def token(self, number: int) -> str:
        """The token of a number, which is empty where a vocabulary left a number out."""
        if number < len(text_levels.SPECIALS):
            return text_levels.SPECIALS[number]
        return self._tokenizer.id_to_token(number - self._shift) or ""

    def encode(self, text: str) -> Encoded:
        """One text to its tokens."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        """Many texts at once, which is faster."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [self._encoded(text, one) for text, one in zip(texts, found, strict=True)]

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of some tokens, without those that stand for unknown, start and end."""
        kept = [int(number) - self._shift for number in numbers if int(number) >= len(text_levels.SPECIALS)]
        text = self._tokenizer.decode([number for number in kept if number not in self._strange])
        text = text[1:] if self._adds_space and text.startswith(" ") else text
        return unicodedata.normalize("NFC", text)

    def _encoded(self, text: str, one: Any) -> Encoded:
        offsets: list[tuple[int, int]] = one.offsets
        if self.level != "word":
            offsets = [_without_space(text, *offset) for offset in offsets]
        if not text.isascii() and not unicodedata.is_normalized("NFC", text):
            offsets = [_with_marks(text, *offset) for offset in offsets]
        return Encoded(self._ours(one.ids), one.tokens, offsets)

    def _ours(self, ids: list[int]) -> list[int]:
        """Our numbers of the tokenizer's own."""
        if not self._shift and self._strange.isdisjoint(ids):
            return ids
        return [UNKNOWN if number in self._strange else number + self._shift for number in ids]


def _without_space(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    return start, end


def _with_marks(text: str, start: int, end: int) -> tuple[int, int]:
    """Marks that were joined to the letter before them belong to it."""
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return start, end
