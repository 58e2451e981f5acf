"""One peer in a process of its own, which does nothing until it is asked."""

import os
import resource
import signal
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from benchmarks.cases import Case
from benchmarks.data import Values, make_data
from benchmarks.peers import PEERS, Peer, Prepared

# Threads of OpenMP, XLA and others spin for a while after work; a peer answers when its own sleep.
PAUSE = 0.03


@dataclass(frozen=True)
class Turn:
    """Median seconds of a call, page faults per call, calls, and processor seconds used since the turn before."""

    seconds: float
    faults: float
    calls: int
    idle: float


class PeerError(Exception):
    """A peer is absent or failed; the text says why."""


class Worker:
    """A peer's process, as its parent sees it; leaving the ``with`` ends it."""

    def __init__(self, peer: str) -> None:
        # Children of the method "spawn" share nothing with the parent, and read their environment anew.
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, PEERS[peer]), daemon=True)
        with _environment(PEERS[peer].environment):
            self._process.start()
        theirs.close()

    def prepare(self, case: Case) -> str:
        """Set a case up and run it once; the answer is the peer's note about itself."""
        return self._ask("prepare", case)

    def values(self) -> Values:
        """What the case's run gave."""
        return self._ask("values")

    def turn(self, seconds: float) -> Turn:
        """Time calls for about ``seconds``."""
        return self._ask("turn", seconds)

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


class _environment:  # noqa: N801
    """Variables that are set while it lasts."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._variables}
        os.environ.update(self._variables)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection, peer: Peer) -> None:
    # Ctrl-C is the parent's: it ends its children when it has saved what there is.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bench = _Bench(peer)
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, getattr(bench, name)(*arguments)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}".partition("\n")[0]
        time.sleep(PAUSE)
        pipe.send(answer)
        bench.used = time.process_time()


class _Bench:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._prepared: Prepared | None = None
        self.used = 0.0

    def prepare(self, case: Case) -> str:
        self._prepared = self._result = None
        data = make_data(case)
        if self._peer.dtype:
            case = replace(case, dtype=self._peer.dtype)
        self._prepared = import_module(f"benchmarks.peers.{self._peer.module}").prepare(case, data)
        self._result = self._prepared.run()
        return self._prepared.note

    def values(self) -> Values:
        values = self._prepared.read(self._result)
        self._result = None
        return values

    def turn(self, seconds: float) -> Turn:
        idle = time.process_time() - self.used
        run = self._prepared.run
        # What others left in the caches is not this peer's.
        run()
        times: list[float] = []
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        while sum(times) < seconds or len(times) < 2:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        return Turn(statistics.median(times), faults / len(times), len(times), idle)
