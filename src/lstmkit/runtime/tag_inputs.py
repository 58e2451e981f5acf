"""Sentences to the arrays that a tagger reads.

Legend: ``B`` sentences, ``T`` words of the longest, ``W`` different words, ``C`` characters of the longest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import word_form
from lstmkit.runtime.tag_config import TagConfig, word_key

Array = NDArray[Any]

# Of longer words the beginning and the end are read.
_HEAD, _TAIL = 24, 8


def tag_inputs(config: TagConfig, sentences: Sequence[Sequence[str]]) -> dict[str, Array]:
    """Arrays of some sentences, none of them empty.

    Returns:
        By name: ``tokens (B, T)`` numbers of words, ``forms (B, T)`` of their forms, ``lengths (B,)``,
        ``places (B, T)`` rows of ``spelled``, ``spelled (W, C)`` numbers of characters of each different word,
        ``spelled_lengths (W,)``.
    """
    lengths = np.array([len(words) for words in sentences], np.int64)
    rows: dict[str, int] = {}
    places = _padded([[rows.setdefault(word, len(rows)) for word in words] for words in sentences])
    spellings = [config.spelling(word) for word in rows]
    spelled = [
        config.characters.numbers(text if len(text) <= _HEAD + _TAIL else text[:_HEAD] + text[-_TAIL:], unknown=0)
        for text in spellings
    ]
    forms = np.array([word_form(config.spelling(word)) for word in rows], np.int64)
    keys = config.words.numbers(map(word_key, rows), unknown=0)
    return {
        "tokens": _padded([keys[row[:length]] for row, length in zip(places, lengths, strict=True)]),
        "forms": forms[places],
        "lengths": lengths,
        "places": places,
        "spelled": _padded(spelled),
        "spelled_lengths": np.array([len(text) for text in spelled], np.int64),
    }


def _padded(rows: Sequence[Any]) -> Array:
    numbers = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for place, row in zip(numbers, rows, strict=True):
        place[: len(row)] = row
    return numbers
