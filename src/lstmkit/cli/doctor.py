"""``lstmkit doctor``: what is installed here and what is missing. Needs the base install alone."""

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from lstmkit import __version__
from lstmkit.core import NativeStatus, native_status
from lstmkit.spec import EXTRAS, install_command

_BASE = ("numpy", "safetensors")
_REINSTALL = "pip install --force-reinstall --no-deps --no-cache-dir lstmkit"


@dataclass(frozen=True)
class Engine:
    """One way to run a cell, and why it can or cannot be used here."""

    name: str
    available: bool
    note: str


@dataclass(frozen=True)
class Extra:
    """One optional set of packages; ``install`` is the command that adds what is missing."""

    name: str
    missing: tuple[str, ...]
    install: str | None


@dataclass(frozen=True)
class Report:
    """Everything that doctor knows; :func:`as_text` and ``--json`` show it."""

    lstmkit: str
    python: str
    system: str
    packages: dict[str, str | None]
    engines: tuple[Engine, ...]
    native: NativeStatus
    extras: tuple[Extra, ...]


def run(arguments: Sequence[str]) -> int:
    """Print the report; the exit code is always 0, for nothing that is optional is a fault."""
    parser = argparse.ArgumentParser(prog="lstmkit doctor", description="What is installed here and what is missing.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    try:
        options = parser.parse_args(list(arguments))
    except SystemExit as leaving:
        return int(leaving.code or 0)
    report = examine()
    print(json.dumps(asdict(report), indent=2) if options.json else as_text(report))
    return 0


def examine() -> Report:
    """Look at this machine; imports none of the packages that it reports on."""
    packages = dict.fromkeys((*_BASE, *(package for extra in EXTRAS.values() for package in extra)))
    versions = {package: _version(package) for package in packages}
    native = native_status()
    return Report(
        lstmkit=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages=versions,
        engines=_engines(versions, native),
        native=native,
        extras=tuple(_extra(name, versions) for name in EXTRAS),
    )


def as_text(report: Report) -> str:
    """The report for a person.

    Example:
        >>> as_text(examine()).splitlines()[0].startswith("lstmkit ")
        True
    """
    lines = [f"lstmkit {report.lstmkit} on Python {report.python}, {report.system}", "", "packages"]
    lines += [f"  {name:<13} {found or '-'}" for name, found in report.packages.items()]
    lines += ["", "engines"]
    lines += [
        f"  {engine.name:<13} {'yes' if engine.available else 'no':<4} {engine.note}" for engine in report.engines
    ]
    lines += ["", "native core", *_native_lines(report.native), "", "extras"]
    for extra in report.extras:
        state = f"missing {', '.join(extra.missing)}; run: {extra.install}" if extra.missing else "complete"
        lines.append(f"  {extra.name:<13} {state}")
    return "\n".join(lines)


def _engines(versions: dict[str, str | None], native: NativeStatus) -> tuple[Engine, ...]:
    found = versions["torch"]
    core = "float32, float64 and bfloat16 on the CPU, forward and backward; streams in int8 too"
    if not found:
        core += "; without torch it runs models and streams, and trains nothing"
    torch = f"torch {found}" if found else f"torch is not installed; run: {install_command('train')}"
    return (
        Engine("reference", True, "the equations in NumPy"),
        Engine("native", native.available, core if native.available else native.reason),
        Engine("torch", found is not None, torch),
    )


def _native_lines(native: NativeStatus) -> list[str]:
    lines = [] if native.available else [f"  unusable: {native.reason}"]
    if native.version is None:
        lines += [
            "  It costs speed: LSTM layers on the CPU train by torch's kernels, which `make bench` measures beside it.",
            f"  To build it, install a C++17 compiler, then run: {_REINSTALL}",
        ]
    else:
        lines += [
            f"  {'compiled for':<13} {', '.join(native.compiled)}",
            f"  {'machine has':<13} {', '.join(native.found)}",
            f"  {'in use':<13} {native.active or '-'}",
        ]
    return [*lines, f"  {'threads':<13} {native.threads}"]


def _extra(name: str, versions: dict[str, str | None]) -> Extra:
    missing = tuple(package for package in EXTRAS[name] if versions[package] is None)
    return Extra(name, missing, install_command(name) if missing else None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
