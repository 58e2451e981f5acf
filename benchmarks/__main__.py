"""``python -m benchmarks``: our layer beside other libraries, checked first, then timed in turn in one run.

Writes benchmarks/results/<machine>.json as it goes, and the tables of the README and the docs after a whole run.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, MEMORY_CASES, STREAM_GOALS
from benchmarks.machine import describe_machine, machine_slug
from benchmarks.memory import measure_memory
from benchmarks.pages import PERFORMANCE, README, RESULTS, write_between_markers, write_json
from benchmarks.report import full_table, lines_of, short_table
from benchmarks.runner import Row, Settings, measure
from benchmarks.streaming import rows_of_streams

# Measures one or more rows.
Job = Callable[[], list[Row]]


def main() -> None:
    """Measure what was asked for; Ctrl-C keeps the rows measured so far."""
    given = _parse()
    settings = Settings(given.rounds or (2 if given.quick else 5), 0.05 if given.quick else 0.15, not given.no_peers)
    if given.threads:
        # Every library asks how many processors it may use, and children inherit the answer.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    machine = describe_machine()
    jobs = list(_jobs(given.case, settings, machine["peak"]))
    if not jobs:
        names = [case.name for case in (*CASES, *MEMORY_CASES)]
        raise SystemExit(f"no case is called {given.case!r}; there are: {'; '.join([*names, 'stream'])}")
    print(_machine_line(machine))
    path = given.json or RESULTS / f"{machine_slug(machine)}.json"
    results: dict[str, Any] = {"machine": machine, "settings": vars(settings), "rows": []}
    try:
        for job in jobs:
            rows = job()
            results["rows"] += rows
            print(*map(lines_of, rows), sep="\n", flush=True)
            write_json(path, results)
    except KeyboardInterrupt:
        rows = results["rows"]
        print(f"stopped; {len(rows)} rows are in {path.name}" if rows else "stopped; nothing was measured")
        raise SystemExit(130) from None
    if not (given.case or given.quick or given.no_peers or given.threads):
        write_between_markers(README, "bench", short_table(results))
        write_between_markers(PERFORMANCE, "bench", full_table(results))


def _jobs(wanted: str, settings: Settings, peak: dict[str, float]) -> Iterator[Job]:
    for case in CASES:
        if wanted in case.name:
            yield lambda case=case: [measure(case, settings, peak, print)]
    for case in MEMORY_CASES:
        if wanted in case.name:
            yield lambda case=case: [measure_memory(case, settings, print)]
    if wanted in " ".join(["stream", *STREAM_GOALS]):
        yield lambda: rows_of_streams(_measure_streams(settings))


def _measure_streams(settings: Settings) -> list[dict[str, Any]]:
    if find_spec("benchmarks.stream") is None:
        print("benchmarks.stream is not there: no streams are measured")
        return []
    from benchmarks import stream

    return stream.measure(settings.rounds)


def _machine_line(machine: dict[str, Any]) -> str:
    peak = ", ".join(f"{value / 1e9:.0f} GF/s {number}" for number, value in machine["peak"].items())
    line = f"{machine['processor']}, {machine['threads']} threads, {machine['instruction_set']}; measured peak {peak}"
    if machine["load"] > 0.5:
        line += f"\nthe machine is busy (load {machine['load']:.1f}): these numbers will not be worth much"
    return line


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--case", default="", help="only cases whose name holds this")
    parser.add_argument("--rounds", type=int, help="turns of each; 5 by default")
    parser.add_argument("--quick", action="store_true", help="2 short rounds; for trying out, not for the tables")
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    parser.add_argument("--threads", type=int, help="only this many processors, for everyone; Linux")
    parser.add_argument("--json", type=Path, help="where the results go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
