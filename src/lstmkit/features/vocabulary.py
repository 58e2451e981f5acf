"""Names with numbers: labels, tags, words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import DataError, ModelFileError


class Vocabulary:
    """Names in the order of their numbers.

    Args:
        names: Each once.

    Raises:
        DataError: a name is there twice.

    Example:
        >>> labels = Vocabulary.count(["no", "yes", "no"])
        >>> labels.names, labels.numbers(["yes", "no"]).tolist()
        (('no', 'yes'), [1, 0])
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        if len(self._numbers) != len(self.names):
            twice = next(name for number, name in enumerate(self.names) if self._numbers[name] != number)
            raise DataError(f"a vocabulary has each name once, but {twice!r} is there twice")

    @classmethod
    def count(
        cls, found: Iterable[str], first: Sequence[str] = (), *, min_count: int = 1, size: int | None = None
    ) -> Self:
        """The names in a text, the most frequent ones first, equally frequent ones by name.

        Args:
            found: Names as they come.
            first: Names that are in it whatever is found, with the first numbers.
            min_count: Rarer names are left out.
            size: How many names there are at most; None sets no limit.
        """
        counts = Counter(found)
        for name in first:
            counts.pop(name, None)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        names = [*first, *(name for name, count in ranked if count >= min_count)]
        return cls(names if size is None else names[:size])

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int | None:
        """The number of a name, or None."""
        return self._numbers.get(name)

    def numbers(self, names: Iterable[str], unknown: int | None = None) -> NDArray[np.int64]:
        """The number of each name.

        Args:
            names: Names.
            unknown: The number of names that are not in the vocabulary.

        Raises:
            DataError: a name is not in the vocabulary, and ``unknown`` is None.
        """
        wanted = list(names)
        found = [self._numbers.get(name, unknown) for name in wanted]
        if None in found:
            known = ", ".join(self.names[:10]) + (", ..." if len(self) > 10 else "")
            raise DataError(f"{wanted[found.index(None)]!r} is not known; known: {known}")
        return np.array(found, np.int64)

    def to_list(self) -> list[str]:
        """The names as JSON can hold them."""
        return list(self.names)

    @classmethod
    def from_list(cls, document: Any) -> Self:
        """Read an untrusted document.

        Raises:
            ModelFileError: it is no list of different texts.
        """
        names: list[Any] = document if isinstance(document, list) else []  # pyright: ignore[reportUnknownVariableType]
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
            raise ModelFileError("the model file is damaged: a vocabulary is no list of different names")
        return cls(names)
