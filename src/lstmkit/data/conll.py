"""Sentences with tags from CoNLL and CoNLL-U files, one at a time.

One word a line, its columns apart by tabs or blanks, and an empty line after each sentence. What is said of a whole
sentence stands before it, as in ``# intent = PlayMusic``.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lstmkit.data.text import read_lines
from lstmkit.spec import DataError, OptionError

# The columns of CoNLL-U by name, counted from 1. Source: https://universaldependencies.org/format.html
UD_COLUMNS = {
    "id": 1,
    "form": 2,
    "lemma": 3,
    "upos": 4,
    "xpos": 5,
    "feats": 6,
    "head": 7,
    "deprel": 8,
    "deps": 9,
    "misc": 10,
}
# The last column, by the names that people give it.
LAST = ("last", "ner")

_COMMENT = re.compile(r"#\s*([\w.:-]+)\s*=\s*(.*)")
_MARK = re.compile(r"# (id|newdoc|newpar)\b")
LABELS = ("intent", "label")


@dataclass(frozen=True)
class Sentence:
    """Words, and what is known of them.

    Args:
        words: At least one.
        tags: One for each word, or none where no column was asked for.
        label: What the comment ``# intent = ...`` or ``# label = ...`` says of the whole.
        text: The text that the words come from, where the comment ``# text = ...`` has it.
        line: Number of the first word's line.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()
    label: str | None = None
    text: str | None = None
    line: int = 0


@dataclass
class _Block:
    """A sentence that is being read."""

    line: int = 0
    words: list[str] = field(default_factory=list[str])
    tags: list[str] = field(default_factory=list[str])
    comments: dict[str, str] = field(default_factory=dict[str, str])

    def close(self) -> Sentence:
        label = next((self.comments[name] for name in LABELS if name in self.comments), None)
        return Sentence(tuple(self.words), tuple(self.tags), label, self.comments.get("text"), self.line)


def is_conllu(path: str | os.PathLike[str], column: str | int | None = None) -> bool:
    """Whether a file has the columns of CoNLL-U: by its ending, or because one of them is asked for by name."""
    return Path(path).suffix.lower() in (".conllu", ".conll-u") or str(column).lower() in UD_COLUMNS


def column_number(column: str | int) -> int:
    """A column's number from 1, from its number or name; 0 is the last one.

    Raises:
        OptionError: it is neither.
    """
    name = str(column).strip().lower()
    if name in LAST:
        return 0
    if name in UD_COLUMNS:
        return UD_COLUMNS[name]
    if not (name.isascii() and name.isdigit() and int(name) >= 1):
        known = ", ".join((*UD_COLUMNS, *LAST))
        raise OptionError(f"column={column!r} is no column: give its number, from 1, or one of {known}")
    return int(name)


def read_conll(
    path: str | os.PathLike[str],
    column: str | int | None = "last",
    encoding: str = "utf-8",
    *,
    conllu: bool | None = None,
) -> Iterator[Sentence]:
    """The sentences of a CoNLL or CoNLL-U file, in order; the file may be larger than memory.

    Of CoNLL-U, ranges of multiword tokens and empty nodes are left out. Elsewhere the word is the first column.

    Args:
        path: The file; ``.conllu`` has ten columns apart by tabs.
        column: Of the tags: a number from 1, a name of CoNLL-U (``"upos"``) or ``"last"``; None reads words alone.
        encoding: Of the file.
        conllu: Whether the file is CoNLL-U; None says it by the ending and the column.

    Raises:
        DataError: the file cannot be read or has no words, or a line has other columns than those before it; the
            message has the line's number.
        OptionError: there is no such column.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "two.conll"
        >>> _ = file.write_text("Paris\\tB-place\\nsleeps\\tO\\n\\nGood\\tO\\n")
        >>> [sentence.tags for sentence in read_conll(file)]
        [('B-place', 'O'), ('O',)]
    """
    number = None if column is None else column_number(column)
    is_ud = is_conllu(path, column) if conllu is None else conllu
    return _read(path, _Columns(os.fspath(path), is_ud, number), encoding)


def _read(path: str | os.PathLike[str], columns: "_Columns", encoding: str) -> Iterator[Sentence]:
    block, found = _Block(), False
    for place, line in enumerate(read_lines(path, encoding), 1):
        if not line.strip():
            if block.words:
                yield block.close()
                found, block = True, _Block()
        elif columns.is_comment(line, block):
            if comment := _COMMENT.match(line):
                block.comments[comment[1].lower()] = comment[2].strip()
        else:
            columns.take(line, place, block)
    if block.words:
        yield block.close()
    elif not found:
        raise DataError(f"{path} has no words; expected one word a line and an empty line after each sentence")


@dataclass
class _Columns:
    """Where words and tags stand; ``width`` is that of the first line, which all others must have."""

    path: str
    is_conllu: bool
    tag: int | None
    width: int = 0
    first: int = 0
    tabs: bool = False

    def is_comment(self, line: str, block: _Block) -> bool:
        """``#`` alone can be a word; before a sentence, what looks like no word is a comment."""
        if line.startswith("-DOCSTART-"):
            return True
        if not line.startswith("#") or block.words:
            return self.is_conllu and line.startswith("#")
        return self.is_conllu or bool(_COMMENT.match(line) or _MARK.match(line))

    def take(self, line: str, place: int, block: _Block) -> None:
        """Add a line's word, and its tag."""
        fields = self._split(line, place)
        if self.is_conllu and not fields[0].isdigit():
            if not re.fullmatch(r"\d+[-.]\d+", fields[0]):
                raise DataError(f"{self.path}, line {place}: expected the number of a word, got {fields[0][:40]!r}")
            return
        block.line = block.line or place
        block.words.append(self._text("word", fields[1 if self.is_conllu else 0], place))
        if self.tag is not None:
            block.tags.append(self._text("tag", fields[self.tag - 1], place))

    def _text(self, what: str, found: str, place: int) -> str:
        if not found:
            raise DataError(f"{self.path}, line {place}: the {what} is empty")
        return found

    def _split(self, line: str, place: int) -> list[str]:
        if not self.width:
            self.tabs = self.is_conllu or "\t" in line
        fields = [text.strip() for text in line.split("\t")] if self.tabs else re.split("[ \t]+", line.strip(" \t"))
        if self.is_conllu and len(fields) != len(UD_COLUMNS):
            raise DataError(
                f"{self.path}, line {place}: {_columns(len(fields))}; CoNLL-U has {len(UD_COLUMNS)}, apart by tabs"
            )
        if not self.width:
            self._measure(fields, place)
        if len(fields) != self.width:
            raise DataError(
                f"{self.path}, line {place}: {_columns(len(fields))}, where line {self.first} has {self.width}; "
                "every word needs all columns, apart by tabs or by blanks, and sentences an empty line between them"
            )
        return fields

    def _measure(self, fields: list[str], place: int) -> None:
        self.width, self.first = len(fields), place
        if self.tag is None:
            return
        if self.tag > self.width:
            raise OptionError(f"column={self.tag} is beyond the {_columns(self.width)} of {self.path}")
        if self.width == 1:
            raise DataError(f"{self.path} has one column, the words; tags need another one")
        self.tag = self.tag or self.width


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"
