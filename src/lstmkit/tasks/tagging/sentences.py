"""What people hand to a tagger, as sentences that it can rely on."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from lstmkit.data import Sentence, keep, read_conll, read_lines
from lstmkit.data.conll import is_conllu
from lstmkit.features import Word, place_words
from lstmkit.spec import DataError

# One path or several, or sentences: (words, tags), (words, tags, label) or a Sentence.
Data: TypeAlias = str | os.PathLike[str] | Iterable[Any]


def read_sentences(data: Data, column: str | int, encoding: str = "utf-8") -> Sequence[Sentence]:
    """Sentences with tags; those of files, which may be larger than memory, lie on disk, without their texts.

    Raises:
        DataError: there are none, or words and tags are not of the same number.
    """
    sentences = _sentences(data, column, encoding)
    found = [*sentences] if paths_of(data) is None else keep(sentences, _pack, _unpack)
    if not found:
        raise DataError("expected sentences with tags, got none")
    return found


def read_untagged(
    path: str | os.PathLike[str], split: Callable[[str], list[Word]], column: str | int, encoding: str = "utf-8"
) -> Iterator[tuple[str, list[Word]]]:
    """The texts of a file with their words: a text a line in ``.txt``, else the words of CoNLL."""
    if Path(path).suffix.lower() == ".txt":
        for line in read_lines(path, encoding):
            yield line, split(line)
        return
    for sentence in read_conll(path, None, encoding, conllu=is_conllu(path, column)):
        yield place_words(sentence.words, sentence.text)


def paths_of(data: Any) -> list[Path] | None:
    """The paths of files, or None where the data are no files."""
    if isinstance(data, str | os.PathLike):
        return [Path(data)]
    if isinstance(data, list | tuple) and data and all(isinstance(path, str | os.PathLike) for path in data):
        return [Path(path) for path in data]
    return None


def _sentences(data: Data, column: str | int, encoding: str) -> Iterator[Sentence]:
    if (paths := paths_of(data)) is not None:
        for path in paths:
            yield from read_conll(path, column, encoding)
        return
    for place, given in enumerate(cast(Iterable[Any], data)):
        yield given if isinstance(given, Sentence) else _sentence(place, given)


def _pack(sentence: Sentence) -> bytes:
    return json.dumps((sentence.words, sentence.tags, sentence.label)).encode()


def _unpack(found: memoryview) -> Sentence:
    words, tags, label = json.loads(bytes(found))
    return Sentence(tuple(words), tuple(tags), label)


def _sentence(place: int, given: Any) -> Sentence:
    parts: list[Any] = [*given] if isinstance(given, tuple | list) else []
    if len(parts) not in (2, 3) or any(isinstance(part, str) for part in parts[:2]):
        raise DataError(f"expected (words, tags) or (words, tags, label) of sentence {place}, got {given!r:.100}")
    words, tags, label = tuple(parts[0]), tuple(parts[1]), parts[2] if len(parts) == 3 else None
    if not words or len(words) != len(tags):
        raise DataError(f"sentence {place} has {len(words)} words and {len(tags)} tags; each word needs one")
    if not all(isinstance(text, str) and text for text in (*words, *tags)):
        raise DataError(f"the words and tags of sentence {place} must be texts that are not empty")
    if not (label is None or isinstance(label, str)):
        raise DataError(f"the label of sentence {place} must be a text, not {label!r:.100}")
    return Sentence(words, tags, label)
