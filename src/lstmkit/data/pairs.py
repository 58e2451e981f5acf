"""Pairs of texts: a source and what becomes of it, from one table or from two files."""

import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from lstmkit.data.disk import keep_texts
from lstmkit.data.text import read_lines
from lstmkit.spec import DataError

Path = str | os.PathLike[str]


class Pairs(NamedTuple):
    """Sources and targets of one length; those of files lie on disk.

    Args:
        sources: What is read.
        targets: What is to be written.
        empty: Pairs of the files that were left out because a side of them was empty.
    """

    sources: Sequence[str]
    targets: Sequence[str]
    empty: int = 0


def read_pairs(path: Path, encoding: str = "utf-8") -> Pairs:
    """Read a two-column table: source, tab, target; no header. A name that ends in ``.gz`` is unpacked on the way.

    The file may be larger than memory: its pairs go to a temporary file, from which they are read as they are needed.
    Pairs with an empty side teach nothing and are left out; empty lines too.

    Raises:
        DataError: the file cannot be read, a line has no tab or more than one (with its number), or no pair is left.
    """
    return _kept(_table(path, encoding), path)


def read_parallel(source: Path, target: Path, encoding: str = "utf-8") -> Pairs:
    """Read two files whose lines belong together; otherwise as :func:`read_pairs`.

    Raises:
        DataError: a file cannot be read, one has more lines than the other (with both counts), or no pair is left.
    """
    return _kept(_lines(source, target, encoding), source)


def _table(path: Path, encoding: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_lines(path, encoding), 1):
        cells = line.split("\t") if line.strip() else ["", ""]
        if len(cells) != 2:
            raise DataError(
                f"{path}, line {number:,}: expected a source and a target with a tab between them, found "
                f"{len(cells)} column{'s' * (len(cells) != 1)}"
            )
        yield cells[0], cells[1]


def _lines(source: Path, target: Path, encoding: str) -> Iterator[tuple[str, str]]:
    counts = [0, 0]
    for pair in zip_longest(read_lines(source, encoding), read_lines(target, encoding)):
        counts = [count + (line is not None) for count, line in zip(counts, pair, strict=True)]
        if counts[0] == counts[1]:
            yield pair
    if counts[0] != counts[1]:
        raise DataError(
            f"{source} has {counts[0]:,} lines, but {target} has {counts[1]:,}; line by line they must belong together"
        )


def _kept(pairs: Iterator[tuple[str, str]], path: Path) -> Pairs:
    empty = 0

    def filled() -> Iterator[str]:
        nonlocal empty
        for pair in pairs:
            sides = [side.strip() for side in pair]
            if all(sides):
                yield from sides
            else:
                empty += 1

    texts = keep_texts(filled())
    if not texts:
        raise DataError(f"{path} holds no pair of a source and a target; all of its {empty:,} lines have an empty side")
    return Pairs(texts[0::2], texts[1::2], empty)
