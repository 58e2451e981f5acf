"""The way to the C++ core, which is absent where no C++17 compiler was found at install time."""

import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType


@dataclass(frozen=True)
class NativeStatus:
    """What the C++ core can do here.

    Args:
        available: Whether it can be used.
        reason: Why it cannot; empty if it can.
        version: Version that it was built for.
        compiled: Instruction sets that it holds code for, worst first.
        found: Instruction sets that this machine has, worst first.
        active: The set that it runs with: the best of both, or what LSTMKIT_ISA asks for.
        threads: Processors that this process may use.
    """

    available: bool
    reason: str
    version: str | None
    compiled: tuple[str, ...]
    found: tuple[str, ...]
    active: str | None
    threads: int


def native_module() -> ModuleType | None:
    """``lstmkit._native``, or None where it was not built."""
    try:
        return import_module("lstmkit._native")
    except ImportError:
        return None


def native_status() -> NativeStatus:
    """What the C++ core can do here; never fails.

    Example:
        >>> native_status().threads >= 1
        True
    """
    core = native_module()
    if core is None:
        return NativeStatus(False, _why_absent(), None, (), (), None, _threads())
    try:
        active, reason = core.active_set(), ""
    except ValueError as error:
        active, reason = None, f"LSTMKIT_ISA={os.environ.get('LSTMKIT_ISA')}: {error}"
    return NativeStatus(
        available=active is not None,
        reason=reason,
        version=core.version,
        compiled=tuple(core.compiled_sets()),
        found=tuple(core.machine_sets()),
        active=active,
        threads=core.available_threads(),
    )


@cache
def bfloat16_gain() -> float | None:
    """How many times as fast as float32 the core multiplies bfloat16 here; None without a core or such instructions.

    Measured once, in some hundredths of a second: there are processors that take longer with these instructions.

    Example:
        >>> gain = bfloat16_gain()
        >>> gain is None or gain > 0
        True
    """
    core, status = native_module(), native_status()
    if core is None or not status.available or not str(status.active).endswith("bf16"):
        return None
    # In turn and the best of each, because others may take the processor for a while.
    turns = [(core.peak("bfloat16", 0.004), core.peak("float32", 0.004)) for _ in range(3)]
    narrow, wide = (max(found) for found in zip(*turns, strict=True))
    return narrow / wide


def _why_absent() -> str:
    try:
        import_module("lstmkit._native")
    except ModuleNotFoundError:
        return "it was not built when lstmkit was installed, most often for want of a C++17 compiler"
    except ImportError as error:
        return f"it cannot be loaded: {error}"
    return ""


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
