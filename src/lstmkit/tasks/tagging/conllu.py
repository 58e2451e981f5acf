"""Tagged sentences as CoNLL-U: ten columns, one of them the tags that were found.

Source: https://universaldependencies.org/format.html
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator

from lstmkit.data.conll import LABELS, UD_COLUMNS, column_number
from lstmkit.runtime import Tagged

_LABEL = re.compile(rf"#\s*({'|'.join(LABELS)})\s*=")


def tag_column(column: str | int) -> int:
    """The column for tags of a model that learned them from ``column``: that one, or the last where it has no place."""
    number = column_number(column)
    return number if UD_COLUMNS["form"] < number <= len(UD_COLUMNS) else len(UD_COLUMNS)


def conllu_lines(sentences: Iterable[Tagged], column: int) -> Iterator[str]:
    """Sentences that come from elsewhere; those without words are left out.

    Args:
        sentences: With their tags.
        column: Of the tags, from 1.
    """
    for number, tagged in enumerate((one for one in sentences if one.words), 1):
        yield f"# sent_id = {number}"
        yield f"# text = {' '.join(tagged.text.split())}"
        yield from _label(tagged)
        ends = [*(word.start for word in tagged.words[1:]), -1]
        for place, (word, tag, next_start) in enumerate(zip(tagged.words, tagged.tags, ends, strict=True), 1):
            fields = [str(place), word.text, *"________"]
            if word.end == next_start:
                fields[-1] = "SpaceAfter=No"
            fields[column - 1] = tag
            yield "\t".join(fields)
        yield ""


def retag_lines(lines: Iterable[str], sentences: Iterable[Tagged], column: int) -> Iterator[str]:
    """The lines of a CoNLL-U file with other tags; all else in it stays as it is.

    Args:
        lines: Of the file.
        sentences: What was found in it, in its order.
        column: Of the tags, from 1.
    """
    found = iter(sentences)
    tags, label, begins, blank = deque[str](), list[str](), True, True
    for line in lines:
        if not line.strip():
            begins = not tags
            if not blank:
                yield ""
            blank = True
            continue
        if begins and (tagged := next(found, None)):
            tags, label, begins = deque(tagged.tags), [*_label(tagged)], False
        blank = False
        if not line.startswith("#"):
            yield from label
            label = []
            yield _retagged(line, tags, column)
        elif not (label and _LABEL.match(line)):
            yield line
    if not blank:
        yield ""


def _retagged(line: str, tags: deque[str], column: int) -> str:
    fields = line.split("\t")
    if fields[0].strip().isdigit():
        fields[column - 1] = tags.popleft()
    return "\t".join(fields)


def _label(tagged: Tagged) -> list[str]:
    return [] if tagged.label is None else [f"# {LABELS[0]} = {tagged.label}"]
