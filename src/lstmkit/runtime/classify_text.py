"""Texts as a classifier reads them: tokens, the letters of each, and its pair with the next.

Legend: ``B`` texts, ``T`` tokens, ``P`` things of a token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import UNKNOWN, TextEncoder
from lstmkit.runtime.stage_shapes import BATCH, STEPS, Shape, count

Array = NDArray[Any]

# The number of things of a token is not fixed; it takes the place of an axis of space.
_THINGS = -3
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
        """Tokens, and what goes with each."""
        shapes: dict[str, Shape] = {"tokens": (BATCH, STEPS), "lengths": (BATCH,), "grams": (BATCH, STEPS, _THINGS)}
        return shapes | ({"pieces": (BATCH, STEPS, _THINGS)} if self.pieces else {})

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

    def arrays(self, rows: Sequence[TextRow]) -> dict[str, Array]:
        """The inputs of a batch."""
        lengths = np.array([len(row.numbers) for row in rows], np.int64)
        tokens = np.zeros((len(rows), lengths.max()), np.int64)
        for place, row in zip(tokens, rows, strict=True):
            place[: len(row.numbers)] = row.numbers
        arrays = {"tokens": tokens, "lengths": lengths, "grams": pad_things([self.grams_of(row) for row in rows])}
        if self.pieces:
            arrays["pieces"] = pad_things([[hash_pieces(word, self.pieces) for word in row.spellings] for row in rows])
        return arrays

    def grams_of(self, row: TextRow) -> list[list[int]]:
        """Each token and the pair that it begins, where it stands for the first time; unknown ones are nothing."""
        seen, found = {UNKNOWN}, list[list[int]]()
        for number, after in zip(row.numbers, [*row.numbers[1:], UNKNOWN], strict=True):
            own = [gram for gram in (number, self.pairs.get((number, after), UNKNOWN)) if gram not in seen]
            seen.update(own)
            found.append(own)
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


@lru_cache(maxsize=200_000)
def hash_pieces(word: str, buckets: int) -> list[int]:
    """Numbers from 1 on for the stretches of 3 to 5 letters of a word, its beginning and end marked."""
    marked = f"<{word}>"
    stretches = (
        marked[start : start + size]
        for size in range(_SHORTEST, _LONGEST + 1)
        for start in range(len(marked) - size + 1)
    )
    return [1 + crc32(stretch.encode()) % (buckets - 1) for stretch in islice(stretches, _MOST_PIECES)]


def pad_things(rows: Sequence[Sequence[Sequence[int]]]) -> Array:
    """Things of each step of each row, ``(B, T, P)``, with zeros where there are none."""
    steps = max(len(row) for row in rows)
    most = max((len(things) for row in rows for things in row), default=1) or 1
    padded = np.zeros((len(rows), steps, most), np.int64)
    for place, row in zip(padded, rows, strict=True):
        for own, things in zip(place, row, strict=False):
            own[: len(things)] = things
    return padded
