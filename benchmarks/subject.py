"""What a peer's process does when it is asked: set a case up, give its numbers, time it, weigh it."""

import ctypes
import gc
import resource
import statistics
import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from benchmarks.cases import Case
from benchmarks.data import Values, make_data
from benchmarks.peers import Peer, Prepared

# A projection of an array on a fixed random vector, and the array's norm: enough to compare without sending it.
Fingerprint = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Turn:
    """Median seconds of a call, page faults per call, calls, and processor seconds used since the turn before."""

    seconds: float
    faults: float
    calls: int
    idle: float


class Subject:
    """One peer and its case."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._prepared: Prepared | None = None
        self.used = 0.0

    def prepare(self, case: Case) -> str:
        """Set a case up and run it once; the answer is the peer's note about itself."""
        self._set_up(case)
        self._result = self._prepared.run()
        return self._prepared.note

    def values(self) -> Values:
        """What the case's first run gave."""
        values = self._prepared.read(self._result)
        self._result = None
        return values

    def fingerprint(self) -> Fingerprint:
        """What the case's first run gave, in two numbers per array."""
        random = np.random.default_rng(0)
        found: Fingerprint = {}
        for name, value in sorted(self.values().items()):
            flat = np.ascontiguousarray(value, np.float32).reshape(-1)
            found[name] = float(flat @ random.standard_normal(flat.size, np.float32)), float(np.linalg.norm(flat))
        return found

    def turn(self, seconds: float, least_calls: int) -> Turn:
        """Time calls for about ``seconds``."""
        idle = time.process_time() - self.used
        run = self._prepared.run
        # What others left in the caches is not this peer's.
        run()
        times: list[float] = []
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        until = time.perf_counter() + seconds
        end = 0.0
        while end < until or len(times) < least_calls:
            start = time.perf_counter()
            run()
            end = time.perf_counter()
            times.append(end - start)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        return Turn(statistics.median(times), faults / len(times), len(times), idle)

    def memory(self, case: Case) -> int:
        """Bytes by which the case's first call raises the most that was ever resident; Linux.

        Its arguments are there before, and a call of a few rows has loaded the code that it needs.
        """
        self._set_up(replace(case, sizes=(4, 8, *case.sizes[2:])))
        self._prepared.run()
        self._set_up(case)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
        self._result = self._prepared.run()
        return _resident("VmHWM") - before

    def _set_up(self, case: Case) -> None:
        self._prepared = self._result = None
        data = make_data(case)
        case = replace(case, **self._peer.changes)
        self._prepared = import_module(f"benchmarks.peers.{self._peer.module}").prepare(case, data)


def _resident(kind: str) -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[kind].split()[0]) * 1024
