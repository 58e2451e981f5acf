"""Lists on disk, for what may be larger than memory."""

import mmap
import tempfile
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import LSTMKitError

Item = TypeVar("Item")

_TOGETHER = 2000


class DiskList(Sequence[Item], Generic[Item]):
    """A list whose items lie in a temporary file, which is gone as soon as nothing reads it any more.

    Memory holds where each item begins and ends, 16 bytes. A slice or an array of indices gives a list of these items,
    which reads the same file. Made by :func:`keep`, :func:`keep_texts` and :func:`keep_numbers`.

    Args:
        content: All items, one behind the other.
        places: Where each begins and ends in it, ``(N, 2)``.
        unpack: Bytes to an item.

    Example:
        >>> kept = keep_texts(["one", "two", "three"])
        >>> len(kept), kept[1], list(kept[[2, 0]])
        (3, 'two', ['three', 'one'])
    """

    def __init__(self, content: memoryview, places: NDArray[np.int64], unpack: Callable[[memoryview], Item]) -> None:
        self._content, self._places, self._unpack = content, places, unpack

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: "slice | NDArray[np.int64] | list[int]") -> "DiskList[Item]": ...
    def __getitem__(self, index: Any) -> Any:
        found = self._places[index]
        if found.ndim == 2:
            return DiskList(self._content, found, self._unpack)
        start, stop = found.tolist()
        return self._unpack(self._content[start:stop])

    def __iter__(self) -> Iterator[Item]:
        for first in range(0, len(self), _TOGETHER):
            for start, stop in self._places[first : first + _TOGETHER].tolist():
                yield self._unpack(self._content[start:stop])

    def __repr__(self) -> str:
        return f"<{len(self):,} items on disk>"


def keep(items: Iterable[Any], pack: Callable[[Any], bytes], unpack: Callable[[memoryview], Item]) -> DiskList[Item]:
    """Items as a list on disk.

    Args:
        items: Read once, one after the other.
        pack: An item to bytes.
        unpack: The inverse.

    Raises:
        LSTMKitError: the disk is full, or there is no folder for temporary files.
    """
    ends = array("q", [0])
    with temporary_file() as file:
        for item in items:
            ends.append(ends[-1] + file.write(pack(item)))
        file.flush()
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if ends[-1] else b""
    found = np.frombuffer(ends, np.int64)
    return DiskList(memoryview(content), np.stack([found[:-1], found[1:]], 1), unpack)


def keep_texts(texts: Iterable[str]) -> DiskList[str]:
    """Texts as a list on disk; errors as of :func:`keep`."""
    return keep(
        texts, lambda text: text.encode("utf-8", "surrogatepass"), lambda found: str(found, "utf-8", "surrogatepass")
    )


def keep_numbers(rows: Iterable[Sequence[int] | NDArray[Any]]) -> DiskList[NDArray[np.int32]]:
    """Rows of whole numbers, of uneven length, as a list on disk; errors as of :func:`keep`."""
    return keep(rows, lambda row: np.asarray(row, np.int32).tobytes(), lambda found: np.frombuffer(found, np.int32))


def take(items: Sequence[Item], rows: NDArray[np.int64]) -> Sequence[Item]:
    """Some items of a list, on disk as the list is."""
    return items[rows] if isinstance(items, DiskList) else [items[row] for row in rows]


def parts(items: Iterable[Item], size: int = _TOGETHER) -> Iterator[list[Item]]:
    """Items as they come, some thousands together.

    Example:
        >>> list(parts("abcde", 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


@contextmanager
def temporary_file() -> Generator[Any, None, None]:
    """A file for bytes that has no name, so that nothing stays of it, whatever happens.

    Raises:
        LSTMKitError: the disk is full, or there is no folder for temporary files.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        raise LSTMKitError(
            f"cannot keep data in a temporary file ({(error.strerror or str(error)).lower()}); free some space in "
            f"{tempfile.tempdir or 'the folder of temporary files'}, or set the environment variable TMPDIR to another"
        ) from None
