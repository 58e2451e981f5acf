"""One thread at a time."""

from threading import Lock

from lstmkit.spec import EngineError


class Turn:
    """Lets one thread in; who comes meanwhile is refused at once, because to wait would hide whose step was first.

    Raises:
        EngineError: on entering, while another thread is inside.

    Example:
        >>> turn = Turn()
        >>> with turn:
        ...     pass
    """

    def __init__(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise EngineError(
                "another thread is using this stream; give each thread its own with clone(), or use a lock"
            )

    def __exit__(self, *_: object) -> None:
        self._lock.release()
