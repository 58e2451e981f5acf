"""``python -m benchmarks``: our layer beside other libraries, checked first, then timed in turn in one run.

Writes benchmarks/results/<machine>.json as it goes, and the tables of the README and the docs after a whole run.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES
from benchmarks.machine import describe_machine, machine_slug
from benchmarks.report import lines_of, table_of, write_between_markers, write_json
from benchmarks.runner import Row, Settings, measure

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "explanation" / "performance.md")


def main() -> None:
    """Measure what was asked for; Ctrl-C keeps the cases measured so far."""
    given = _parse()
    cases = [case for case in CASES if given.case in case.name]
    if not cases:
        raise SystemExit(f"no case is called {given.case!r}; there are: {'; '.join(case.name for case in CASES)}")
    settings = Settings(given.rounds or (2 if given.quick else 5), 0.05 if given.quick else 0.15, not given.no_peers)
    if given.threads:
        # Every library asks how many processors it may use, and children inherit the answer.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    machine = describe_machine()
    peak = ", ".join(f"{value / 1e9:.0f} GF/s {number}" for number, value in machine["peak"].items())
    print(f"{machine['processor']}, {machine['threads']} threads, {machine['instruction_set']}; measured peak {peak}")
    if machine["load"] > 0.5:
        print(f"the machine is busy (load {machine['load']:.1f}): these numbers will not be worth much")
    path = given.json or ROOT / "benchmarks" / "results" / f"{machine_slug(machine)}.json"
    rows: list[Row] = []
    results: dict[str, Any] = {"machine": machine, "settings": vars(settings), "rows": rows}
    try:
        for case in cases:
            rows.append(measure(case, settings, machine["peak"], print))
            print(lines_of(rows[-1]), flush=True)
            write_json(path, results)
    except KeyboardInterrupt:
        print(f"stopped; {len(rows)} cases are in {path.name}" if rows else "stopped; nothing was measured")
        raise SystemExit(130) from None
    if len(cases) == len(CASES) and not given.quick and not given.no_peers and not given.threads:
        for page in PAGES:
            write_between_markers(page, table_of(results))


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
