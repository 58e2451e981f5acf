"""Files that are either whole or untouched."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp

from lstmkit.spec.errors import LSTMKitError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Yield a temporary path beside ``path``; on success it replaces ``path`` in one step.

    Whatever goes wrong in the block - an exception, a full disk, a kill - the file that stood at
    ``path`` stays as it was.

    Raises:
        LSTMKitError: the folder is missing or cannot be written to, or the disk is full.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        temporary = _sibling(target)
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise LSTMKitError(f"cannot write {target}: {_reason(error)}; nothing was changed") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _sibling(target: Path) -> Path:
    """An empty file in the same folder, with the permissions that a plain ``open`` would give."""
    if target.is_dir():
        raise IsADirectoryError(0, "it is a folder")
    descriptor, name = mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    os.close(descriptor)
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)
    return Path(name)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
