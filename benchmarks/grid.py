"""``python -m benchmarks.grid``: ours, on the engine it chooses, beside torch over lengths, batches and hidden sizes.

Each cell is checked (ours and torch's numbers agree), then timed in turn; one below 0.95 is measured again before it is
believed. Writes benchmarks/results/<machine>-grid.json after each cell and draws a heat map. Called again it goes on
from there; after a change of the code it measures all.
"""

import argparse
import hashlib
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lstmkit
from benchmarks.cases import OURS, TORCH, Case, Task
from benchmarks.heat_map import draw_heat_map
from benchmarks.machine import describe_machine, machine_slug
from benchmarks.pages import IMAGES, PERFORMANCE, RESULTS, write_between_markers, write_json
from benchmarks.runner import Row, Settings, compare_turns, take_turns, workers
from benchmarks.subject import Fingerprint
from benchmarks.worker import PeerError, Worker
from lstmkit.core import native_module

TASKS: tuple[Task, ...] = ("infer", "train")
LENGTHS = (1, 8, 32, 128, 512)
BATCHES = (1, 4, 16, 64, 256, 2048)
HIDDEN_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
# Cells of more operations take seconds a call, and are to their smaller neighbours as the charts' lines say.
MOST_OPERATIONS = 4e10
LIMIT = 0.95

FIRST, AGAIN = Settings(2, 0.025, least_calls=1), Settings(6, 0.05)


def grid_cases() -> list[Case]:
    """All cells, in an order that covers the whole range thinly when it is cut short."""
    cases: list[Case] = []
    for task, T, B, H in itertools.product(TASKS, LENGTHS, BATCHES, HIDDEN_SIZES):
        case = grid_case(task, T, B, H, H)
        if case.operations(T * B) <= MOST_OPERATIONS:
            cases.append(case)
    random.Random(0).shuffle(cases)
    return cases


def grid_case(task: Task, *sizes: int) -> Case:
    """The case of one cell."""
    T, B, I, H = sizes  # noqa: E741
    return Case(f"{task} {T}, {B}, {I}, {H}", task, (T, B, I, H), (TORCH,), ())


def measure_cell(every: dict[str, Worker], case: Case) -> Row:
    """One cell: ``ratio`` is torch's time over ours."""
    engine = every[OURS].prepare(case).removeprefix("engine ")
    every[TORCH].prepare(case)
    check_agreement(case, every[OURS].fingerprint(), every[TORCH].fingerprint())
    names = [OURS, TORCH]
    row: Row = {"task": case.task, "sizes": list(case.sizes), "engine": engine}
    turns = take_turns(every, names, FIRST)
    again = compare_turns(turns[OURS], turns[TORCH])["ratio"] < LIMIT
    if again:
        turns = take_turns(every, names, AGAIN)
    compared = compare_turns(turns[OURS], turns[TORCH])
    times = sorted(turn.seconds for turn in turns[OURS])
    row |= {"milliseconds": 1e3 * times[len(times) // 2], "measured_again": again, **compared}
    return row


def check_agreement(case: Case, ours: Fingerprint, theirs: Fingerprint) -> None:
    """Ours and torch's numbers agree within rounding.

    Raises:
        SystemExit: they do not; a fast wrong result is worth nothing.
    """
    for name, (projected, norm) in theirs.items():
        other, other_norm = ours[name]
        # A projection of the difference is of the size of the difference.
        if not (abs(other - projected) <= 1e-4 * norm and abs(other_norm - norm) <= 1e-4 * norm):
            raise SystemExit(f"{case.name}: {name} differs from torch's by {abs(other - projected) / norm:.1e}")


def main() -> None:
    """Measure until done, or until the time is over; Ctrl-C keeps the cells measured so far."""
    given = _parse()
    machine, code = describe_machine(), code_digest()
    path = given.output / f"{machine_slug(machine)}-grid.json"
    cells = [] if given.fresh else read_cells(path, code)
    if cells:
        print(f"going on after {len(cells)} cells; --fresh starts anew")
    done = {(cell["task"], *cell["sizes"]) for cell in cells}
    cases = [case for case in grid_cases() if (case.task, *case.sizes) not in done]
    try:
        for cell in _measure_all(cases, given.minutes):
            cells.append(cell)
            write_json(path, {"machine": machine, "code": code, "cells": cells})
    except KeyboardInterrupt:
        print("stopped")
    left = len(grid_cases()) - len(cells)
    print(f"{len(cells)} cells are in {path.name}; {f'{left} are left: run it again' if left else 'all'}")
    if cells:
        print(report(cells))
        draw_heat_map(cells, LENGTHS, BATCHES, HIDDEN_SIZES, (given.output if left else IMAGES) / "grid.svg")
    if cells and not left:
        text = f"![Torch's time over ours](../images/grid.svg)\n\n```text\n{report(cells)}\n```"
        write_between_markers(PERFORMANCE, "grid", text)


def _measure_all(cases: list[Case], minutes: float) -> Iterator[Row]:
    until = time.monotonic() + 60 * minutes
    if not cases or not minutes:
        return
    with workers((OURS, TORCH)) as every:
        for case in cases:
            if time.monotonic() > until:
                return
            try:
                cell = measure_cell(every, case)
            except PeerError as error:
                raise SystemExit(f"{case.name}: {error}") from None
            print(_line_of(cell), flush=True)
            yield cell


def report(cells: list[Row], shown: int = 10) -> str:
    """The spread of the ratios, and the worst cells."""
    ordered = sorted(cells, key=lambda cell: cell["ratio"])
    below = [cell for cell in ordered if cell["ratio"] < LIMIT]
    median = ordered[len(ordered) // 2]["ratio"]
    parts = [
        f"{len(cells)} cells: median {median:.2f}x, best {ordered[-1]['ratio']:.2f}x, {len(below)} below {LIMIT}x",
        *_listed(f"below {LIMIT}x:" if below else "the worst:", below or ordered[:shown]),
    ]
    return "\n".join(parts)


def _listed(title: str, cells: list[Row]) -> list[str]:
    return [title, *(f"  {_line_of(cell)}" for cell in cells)] if cells else []


def _line_of(cell: Row) -> str:
    low, high = cell["spread"]
    sizes = ", ".join(map(str, cell["sizes"]))
    return (
        f"{cell['task']} {sizes:20} {cell['milliseconds']:9.3f} ms {cell['ratio']:6.2f}x "
        f"({low:.2f}-{high:.2f}) {cell['engine']}"
    )


def code_digest() -> str:
    """What ran."""
    package = Path(lstmkit.__file__).parent
    files = [file for room in ("nn", "ops", "core", "reference") for file in sorted((package / room).rglob("*.py"))]
    core = native_module()
    files += [Path(core.__file__)] if core is not None and core.__file__ else []
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def read_cells(path: Path, code: str) -> list[Row]:
    """The cells that would come out the same today."""
    if not path.exists():
        return []
    found: dict[str, Any] = json.loads(path.read_text())
    if found["code"] != code:
        print(f"{path.name} was measured with other code: starting anew")
        return []
    return found["cells"]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="stop after these; 0 only reports what is there")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the JSON goes, and an unfinished heat map")
    return parser.parse_args()


if __name__ == "__main__":
    main()
