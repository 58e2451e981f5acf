"""Whoever searches watches the validations of every training below, whatever task it belongs to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lstmkit.training.result import Validation

_watcher: ContextVar[Callable[[Validation], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(note: Callable[[Validation], None]) -> Iterator[None]:
    """Call ``note`` with each validation of the trainings in a block; what it raises ends the training."""
    token = _watcher.set(note)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell(validation: Validation) -> None:
    """Tell whoever watches."""
    if (note := _watcher.get()) is not None:
        note(validation)
