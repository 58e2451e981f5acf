"""Ctrl-C as a wish that is granted between two steps."""

import signal
import threading
from types import FrameType


class Interrupt:
    """While entered, a first Ctrl-C sets ``requested``; a second one raises KeyboardInterrupt.

    Outside the main thread, or where the program handles Ctrl-C itself, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._installed = False

    def __enter__(self) -> "Interrupt":
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
