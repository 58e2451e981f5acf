"""Texts as a classifier reads them: tokens, the letters of each, and its pair with the next.

Legend: ``B`` texts, ``T`` tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import UNKNOWN, TextEncoder
from lstmkit.runtime.stage_shapes import BATCH, LETTERS, STEPS, WORDS, Shape, count

Array = NDArray[Any]

_SHORTEST, _LONGEST, _MOST_PIECES = 3, 5, 40


class TextRow(NamedTuple):
    """A text in tokens: their numbers, how they are spelt, and where they stand in the text."""

    numbers: list[int]
    spellings: list[str]
    offsets: list[tuple[int, int]]


@dataclass(frozen=True)
class TextReader:
    """Texts to tokens, their letters and their pairs.

    Args:
        encoder: Cuts a text into tokens and numbers them.
        pieces: Into how many numbers the letters of a word are hashed; 0 leaves them out.
        pairs: Number of each pair of neighbours that is looked up beside the tokens themselves.
        lowercase: Whether letters are looked at in lower case.
    """

    encoder: TextEncoder
    pieces: int = 0
    pairs: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    lowercase: bool = True

    def shapes(self) -> dict[str, Shape]:
        """Tokens, the grams of each, and the letters of the different words with the places where these stand."""
        shapes: dict[str, Shape] = {"tokens": (BATCH, STEPS), "lengths": (BATCH,), "grams": (BATCH, STEPS, 2)}
        return shapes | ({"pieces": (WORDS, LETTERS), "places": (BATCH, STEPS)} if self.pieces else {})

    @property
    def grams(self) -> int:
        """How many tokens and pairs there are, with 0 for nothing."""
        return len(self.encoder) + len(self.pairs)

    def rows(self, examples: Sequence[str]) -> list[TextRow]:
        """Tokens of each text; one without any counts as one that is not known."""
        return [
            TextRow(one.numbers, [self._spelling(text[a:b]) for a, b in one.offsets], one.offsets)
            if one.numbers
            else TextRow([UNKNOWN], [""], [(0, 0)])
            for text, one in zip(examples, self.encoder.encode_many(examples), strict=True)
        ]

    def _spelling(self, word: str) -> str:
        return word.lower() if self.lowercase else word

    def arrays(self, rows: Sequence[TextRow], *, grams: bool = True) -> dict[str, Array]:
        """The inputs of a batch; ``grams`` can be left out where nothing reads them."""
        lengths = np.array([len(row.numbers) for row in rows], np.int64)
        arrays = {"tokens": _padded(lengths, (number for row in rows for number in row.numbers)), "lengths": lengths}
        if grams:
            arrays["grams"] = found = np.zeros((*arrays["tokens"].shape, 2), np.int64)
            for number, row in enumerate(rows):
                found[number, : len(row.numbers)] = self.grams_of(row)
        if self.pieces:
            words: dict[str, int] = {}
            places = [words.setdefault(word, len(words)) for row in rows for word in row.spellings]
            arrays["places"] = _padded(lengths, places)
            pieces = [hash_pieces(word, self.pieces) for word in words]
            arrays["pieces"] = _padded(np.array(list(map(len, pieces))), chain.from_iterable(pieces))
        return arrays

    def grams_of(self, row: TextRow) -> list[tuple[int, int]]:
        """Each token and the pair that it begins, where they stand for the first time; 0 else, and if unknown."""
        seen, found = {UNKNOWN}, list[tuple[int, int]]()
        for number, after in zip(row.numbers, [*row.numbers[1:], UNKNOWN], strict=True):
            pair = self.pairs.get((number, after), UNKNOWN)
            found.append((UNKNOWN if number in seen else number, UNKNOWN if pair in seen else pair))
            seen.update(found[-1])
        return found

    def to_dict(self) -> dict[str, Any]:
        """What the model file keeps; the pairs as one flat list."""
        pairs = [number for pair in self.pairs for number in pair]
        return {
            "kind": "text",
            "encoder": self.encoder.to_json(),
            "pieces": self.pieces,
            "pairs": pairs,
            "lowercase": self.lowercase,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> "TextReader":
        """Read an untrusted document; ValueError where it makes no sense."""
        encoder = TextEncoder.from_json(document.get("encoder"))
        flat, lowercase = document.get("pairs"), document.get("lowercase")
        if not isinstance(flat, list) or len(flat) % 2 or not all(type(number) is int for number in flat):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            raise ValueError("the pairs are no pairs of numbers")
        if not isinstance(lowercase, bool):
            raise ValueError("lowercase must be true or false")
        pieces = 0 if document.get("pieces") == 0 else count(document, "pieces")
        if pieces == 1:
            raise ValueError("letters need more than one number")
        return cls(encoder, pieces, number_pairs(flat[::2], flat[1::2], len(encoder)), lowercase)  # pyright: ignore[reportUnknownArgumentType]


def number_pairs(first: Sequence[int], second: Sequence[int], start: int) -> dict[tuple[int, int], int]:
    """Numbers of pairs, behind those of the tokens."""
    return {pair: start + place for place, pair in enumerate(zip(first, second, strict=True))}


@lru_cache(maxsize=50_000)
def hash_pieces(word: str, buckets: int) -> list[int]:
    """Numbers from 1 on for the stretches of 3 to 5 letters of a word, its beginning and end marked."""
    marked = f"<{word}>"
    stretches = (
        marked[start : start + size]
        for size in range(_SHORTEST, _LONGEST + 1)
        for start in range(len(marked) - size + 1)
    )
    return [1 + crc32(stretch.encode()) % (buckets - 1) for stretch in islice(stretches, _MOST_PIECES)]


def _padded(lengths: Array, numbers: Iterable[int]) -> Array:
    """Rows of numbers that follow each other, ``(rows, longest)``, with zeros behind them."""
    real: Array = np.arange(max(int(lengths.max()), 1)) < lengths[:, None]
    padded = np.zeros(real.shape, np.int64)
    padded[real] = np.fromiter(numbers, np.int64)
    return padded
