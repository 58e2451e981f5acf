"""One peer in a process of its own, which does nothing until it is asked."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from benchmarks.cases import Case
from benchmarks.data import Values
from benchmarks.peers import PEERS, Peer
from benchmarks.subject import Fingerprint, Subject, Turn

# Threads of OpenMP, XLA and others spin for a while after work; a peer answers when its own sleep.
PAUSE = 0.03


class PeerError(Exception):
    """A peer is absent or failed; the text says why."""


class Worker:
    """A peer's process, as its parent sees it; leaving the ``with`` ends it."""

    def __init__(self, peer: str) -> None:
        # Children of the method "spawn" share nothing with the parent, and read their environment anew.
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, PEERS[peer]), daemon=True)
        # How many processors there are is for the affinity to say, alike for everyone.
        with environment({"OMP_NUM_THREADS": None, **PEERS[peer].environment}):
            self._process.start()
        theirs.close()

    def prepare(self, case: Case) -> str:
        """Set a case up and run it once; the answer is the peer's note about itself."""
        return self._ask("prepare", case)

    def values(self) -> Values:
        """What the case's run gave."""
        return self._ask("values")

    def turn(self, seconds: float, least_calls: int) -> Turn:
        """Time calls for about ``seconds``."""
        return self._ask("turn", seconds, least_calls)

    def fingerprint(self) -> Fingerprint:
        """What the case's run gave, in two numbers per array."""
        return self._ask("fingerprint")

    def memory(self, case: Case) -> int:
        """Bytes that the case's first call needs beside its arguments; for a process that has run nothing yet."""
        return self._ask("memory", case)

    def _ask(self, *message: Any) -> Any:
        try:
            self._pipe.send(message)
            worked, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise PeerError(f"its process ended with code {self._process.exitcode}") from None
        if not worked:
            raise PeerError(answer)
        return answer

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()


@contextmanager
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Variables that are set, or unset, while it lasts."""
    before = {name: os.environ.get(name) for name in variables}
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _serve(pipe: Connection, peer: Peer) -> None:
    # Ctrl-C is the parent's: it ends its children when it has saved what there is.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    subject = Subject(peer)
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, getattr(subject, name)(*arguments)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}".partition("\n")[0]
        time.sleep(PAUSE)
        pipe.send(answer)
        subject.used = time.process_time()
