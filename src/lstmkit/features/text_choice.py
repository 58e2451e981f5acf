"""What the levels of all tasks have in common: the name of one, or the file of a tokenizer that is there already."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lstmkit.features.text import TextEncoder
from lstmkit.spec import DataError, OptionError

Level = str | os.PathLike[str]
_ENDING = ".json"


def is_file(level: object) -> bool:
    """Whether a level is the file of a tokenizer."""
    return isinstance(level, str) and level.lower().endswith(_ENDING)


def check_level(level: Level, levels: Sequence[str], **learned: bool) -> str:
    """A level as it was given, but as a text.

    Args:
        level: One of ``levels``, or the path of a ``tokenizer.json``.
        levels: Names that the task knows.
        learned: Options of a vocabulary that is learned -> whether they were given.

    Raises:
        OptionError: it is neither, or options are given that a tokenizer of its own leaves nothing to.
    """
    name = os.fspath(level) if isinstance(level, os.PathLike) else level
    if not is_file(name):
        if name not in levels:
            known = ", ".join(map(repr, levels))
            raise OptionError(f"level must be one of {known}, or the path of a tokenizer{_ENDING}, not {level!r}")
        return name
    for option, given in learned.items():
        if given:
            raise OptionError(f"{option} is for a vocabulary that is learned, but {name} has its own; leave it out")
    return name


def encoder_of(level: str, texts: Callable[[], Iterable[str]], *, writes: bool = False, **options: Any) -> TextEncoder:
    """The vocabulary of a level: learned from texts, or that of the file.

    Args:
        level: As :func:`check_level` gives it.
        texts: Called where there is something to learn.
        writes: Whether tokens are to become text again.
        options: Of :meth:`TextEncoder.train`.

    Raises:
        DataError: the file is missing, no tokenizer, or cannot do what it should; or there is nothing to learn from.
    """
    if not is_file(level):
        return TextEncoder.train(texts(), level, **options)
    encoder = TextEncoder.from_file(level)
    if writes and not encoder.writes:
        raise DataError(
            f"nothing in {level} says how its pieces become words again; train it with a pre-tokenizer that keeps "
            "spaces, such as Metaspace or ByteLevel, or set its decoder"
        )
    return encoder
