"""Texts of any size as one row of tokens."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from lstmkit.data import RECORDS, parts, read_lines, read_records, temporary_file
from lstmkit.features import UNKNOWN, encoder_of
from lstmkit.runtime.lm_text import LEVELS, LINE_END, LanguageText
from lstmkit.spec import DataError

PathLike = str | os.PathLike[str]
Source = PathLike | TextIO | Sequence[PathLike]


class Corpus(NamedTuple):
    """A text in tokens.

    Args:
        tokens: ``(N,)``, mapped from a temporary file.
        characters: Of the text, ends of lines included.
        unknown: Tokens that the vocabulary does not have.
    """

    tokens: NDArray[Any]
    characters: int
    unknown: int


def read_text(source: Source, column: str = "text", encoding: str = "utf-8") -> Callable[[], Iterator[str]]:
    """The lines of files one after the other, as often as they are asked for.

    Args:
        source: A path, several, or an open text that can be read from its start again. In a table (``.csv``, ``.tsv``,
            ``.json``, ``.jsonl``) the cells of one column are the lines.
        column: That column.
        encoding: Of the files.
    """
    if hasattr(source, "readlines"):
        return lambda: _reread(source)
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)  # pyright: ignore
    if not paths:
        raise DataError("there is no text: no file was given")
    return lambda: chain.from_iterable(_lines(Path(path), column, encoding) for path in paths)  # pyright: ignore


def _reread(text: Any) -> Iterator[str]:
    text.seek(0)
    return (line.rstrip("\r\n") for line in text)


def _lines(path: Path, column: str, encoding: str) -> Iterable[str]:
    if Path(path.name.removesuffix(".gz")).suffix.lower() in RECORDS:
        rows = read_records(path, {"text": column}, encoding)
        return (line for row in rows for line in row["text"].splitlines() or [""])
    return read_lines(path, encoding)


def learn_text(lines: Callable[[], Iterator[str]], level: str, **options: Any) -> LanguageText:
    """Learn the vocabulary of a text, or take it from a file; options are those of :meth:`TextEncoder.train`."""

    def whole() -> Iterator[str]:
        return (line + LINE_END for line in lines()) if level == "character" else lines()

    encoder = encoder_of(level, whole, writes=True, **options)
    # A tokenizer of someone else joins its tokens itself, as pieces are joined.
    return LanguageText(level if level in LEVELS else "bpe", encoder)


def encode(text: LanguageText, lines: Iterable[str]) -> Corpus:
    """Tokens of a text that may be larger than memory: they go to a temporary file.

    Raises:
        DataError: the text is empty.
        LSTMKitError: the disk is full.
    """
    kind = np.uint16 if len(text.encoder) <= 2**16 else np.uint32
    characters = unknown = count = 0
    with temporary_file() as file:
        for part in parts(lines):
            numbers = text.lines(part).astype(kind)
            numbers.tofile(file)
            count += len(numbers)
            unknown += int((numbers == UNKNOWN).sum())
            characters += sum(map(len, part)) + len(part)
        if not count:
            raise DataError("there is no token in this text; give a text that is not empty")
        file.flush()
        return Corpus(np.memmap(file, kind, "r", shape=(count,)), characters, unknown)
