"""What the numbers were measured on: no names, only what explains them."""

import os
import platform
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lstmkit.core import native_module, native_status


def describe_machine() -> dict[str, Any]:
    """Processor, threads, instruction set and the peaks that were just measured, in operations per second."""
    status = native_status()
    return {
        "processor": _processor(),
        "threads": status.threads,
        "instruction_set": status.active,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        "system": platform.system(),
        "python": platform.python_version(),
        "peak": {number: peak for number in ("float32", "bfloat16") if (peak := measure_peak(number)) is not None},
    }


def measure_peak(number: str, seconds: float = 0.5) -> float | None:
    """What all threads at once can multiply and add; None without the core or without such an instruction."""
    core, threads = native_module(), native_status().threads
    if core is None:
        return None
    try:
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(lambda _: core.peak(number, seconds), range(threads)))
    except ValueError:
        return None


def machine_slug(machine: dict[str, Any]) -> str:
    """The name of a file for this kind of machine."""
    text = f"{machine['processor']} {machine['threads']} threads {machine['instruction_set']}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
