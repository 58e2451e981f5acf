"""Texts in tokens, on disk: what a reader makes of all examples is larger than they are."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.data import DiskList, keep, keep_numbers, parts
from lstmkit.runtime import SeriesReader, TextReader
from lstmkit.runtime.classify_text import TextRow

Array = NDArray[Any]


def keep_rows(reader: TextReader | SeriesReader, examples: Sequence[Any]) -> Sequence[Any]:
    """What a reader gives for each example; texts are read part by part, and lose their places."""
    if isinstance(reader, SeriesReader):
        return reader.rows(examples)
    return keep((row for part in parts(examples) for row in reader.rows(part)), _pack, _unpack)


def keep_grams(reader: TextReader, rows: Iterable[TextRow]) -> DiskList[NDArray[np.int32]]:
    """The different tokens and pairs of each text, by number."""
    return keep_numbers(_grams(reader, rows))


def _grams(reader: TextReader, rows: Iterable[TextRow]) -> Iterator[list[int]]:
    return ([gram for own in reader.grams_of(row) for gram in own if gram] for row in rows)


def _pack(row: TextRow) -> bytes:
    return json.dumps(row[:2]).encode()


def _unpack(found: memoryview) -> TextRow:
    numbers, spellings = json.loads(bytes(found))
    return TextRow(numbers, spellings, [])
