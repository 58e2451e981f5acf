"""Files that are either whole or untouched."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from lstmkit.spec.errors import LSTMKitError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Yield a temporary path beside ``path``; on success it replaces ``path`` in one step.

    Whatever goes wrong in the block - an exception, a full disk, a kill - the file that stood at
    ``path`` stays as it was. Its permissions are kept, and a link stays a link.

    Raises:
        LSTMKitError: the folder is missing or cannot be written to, the path is no ordinary file, or the disk
            is full.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        _check(target)
        temporary = _sibling(target)
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise LSTMKitError(f"cannot write {path}: {_reason(error)}; nothing was changed") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _check(target: Path) -> None:
    """A device such as /dev/null, replaced by a file, would be lost to every other program."""
    if target.exists() and not target.is_file():
        raise OSError(0, "it is a folder" if target.is_dir() else "it is no ordinary file")


def _sibling(target: Path) -> Path:
    """An empty file in the same folder, with the permissions of the target, or those that a plain ``open`` gives."""
    sibling = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.partial")
    os.close(os.open(sibling, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    if target.exists():
        sibling.chmod(target.stat().st_mode & 0o777)
    return sibling


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "its folder does not exist"
    return (error.strerror or str(error)).lower()
