"""How examples are to be read, learned from those that train."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmkit.features import TextEncoder
from lstmkit.runtime import SeriesReader, TextReader
from lstmkit.runtime.classify_text import TextRow, number_pairs
from lstmkit.spec import DataError
from lstmkit.tasks.classification.naive_bayes import frequent_pairs
from lstmkit.tasks.classification.rows import keep_rows

# Letters of words are hashed into so many numbers, fewer where there are few words.
_MOST_PIECES, _LEAST_PIECES = 2**13, 2**10
# A series of more steps than these is read in stretches of several steps.
_LONGEST = 160


def text_reader(
    texts: Sequence[str], encoder: TextEncoder, *, lowercase: bool, letters: bool
) -> tuple[TextReader, Sequence[TextRow]]:
    """Tokens, with their letters if they are words, and the pairs that come more than once; and the texts as read."""
    pieces = min(_MOST_PIECES, max(_LEAST_PIECES, 4 * len(encoder))) if letters else 0
    plain = TextReader(encoder, pieces, {}, lowercase)
    rows = keep_rows(plain, texts)
    pairs = frequent_pairs(rows, len(encoder))
    numbered = number_pairs([a for a, _ in pairs], [b for _, b in pairs], len(encoder))
    return TextReader(encoder, pieces, numbered, lowercase), rows


def series_reader(series: Sequence[Any], channels: tuple[str, ...]) -> SeriesReader:
    """Mean and spread of each channel, whether anything is missing, and how many steps are read together.

    Raises:
        DataError: a series has other channels, or a channel has no values.
    """
    for number, one in enumerate(series, 1):
        if one.shape[1] != len(channels) or not len(one):
            raise DataError(
                f"series {number} has the shape {one.shape}, expected (steps, {len(channels)}) with at least one step"
            )
    values = np.concatenate(series).astype(np.float64)
    present = np.isfinite(values)
    for number in np.flatnonzero(~present.any(0)):
        raise DataError(f"{channels[number]!r} has no values at all; leave it out")
    centres, spreads = np.nanmean(values, 0), np.nanstd(values, 0)
    longest = max(map(len, series))
    return SeriesReader(
        channels=channels,
        centres=tuple(centres.tolist()),
        spreads=tuple(np.where(spreads > 0, spreads, 1.0).tolist()),
        stretch=-(-longest // _LONGEST),
        masked=not present.all(),
    )
