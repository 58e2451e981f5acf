"""``python -m benchmarks.family``: what each cell and option costs beside our plain LSTM, checked first, then in turn.

Training steps of one layer with T, B, I, H = 100, 32, 128, 128 in float32, on two processors. Writes
benchmarks/results/<machine>-family.json, and with ``--write`` the table in docs/explanation/performance.md.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.cases import LOOP, OURS, PLAIN, TORCH, Case, Sizes
from benchmarks.data import expected_values, make_data
from benchmarks.machine import describe_machine, machine_slug
from benchmarks.pages import PERFORMANCE, RESULTS, write_between_markers, write_json
from benchmarks.report import machine_text
from benchmarks.runner import Row, Settings, WrongResultError, check, take_turns
from benchmarks.subject import Turn
from benchmarks.worker import PeerError, Worker

SIZES = (100, 32, 128, 128)


@dataclass(frozen=True)
class Member:
    """A cell or option, and what it must show.

    Args:
        name: What it is called in the table.
        cell: A CellSpec's document without sizes.
        most: The plain LSTM's times that it may take; None is no goal.
        rates: Dropouts of the layer.
        peers: Others, and how many times our time they must take at least.
    """

    name: str
    cell: dict[str, Any] = field(default_factory=dict[str, Any])
    most: float | None = None
    rates: dict[str, float] = field(default_factory=dict[str, float])
    peers: dict[str, float] = field(default_factory=dict[str, float])

    def case(self, sizes: Sizes) -> Case:
        """What is measured; the projection is half of the units."""
        projection = sizes[3] // 2 if self.name == "projection" else 0
        case = Case(self.name, "train", sizes, tuple(self.peers), (), projection=projection)
        return replace(case, cell=self.cell, rates=self.rates)


def _option(name: str, most: float = 1.15, **options: Any) -> Member:
    return Member(name, {"variant": options}, most)


_DROPOUTS = dict.fromkeys(("input_dropout", "state_dropout", "candidate_dropout", "weight_dropout"), 0.2)

MEMBERS = (
    _option("peepholes", peepholes="ifo"),
    _option("coupled forget gate", forget_gate="coupled"),
    _option("coupled input gate", input_gate="coupled"),
    _option("no forget gate", forget_gate="one"),
    _option("no input gate", input_gate="one"),
    _option("no output gate", output_gate="one"),
    _option("gates clipped", gate_clip=3.0),
    _option("cell clipped", cell_clip=3.0),
    _option("hard sigmoid", gate_activation="hard_sigmoid"),
    _option("softsign gates", gate_activation="softsign"),
    _option("linear candidate", candidate_activation="identity"),
    _option("linear output", cell_activation="identity"),
    _option("relu candidate", candidate_activation="relu"),
    _option("zoneout", zoneout_h=0.05, zoneout_c=0.5),
    Member("state dropout", most=1.15, rates={"state_dropout": 0.2}),
    Member("candidate dropout", most=1.15, rates={"candidate_dropout": 0.2}),
    Member("weight dropout", most=1.1, rates={"weight_dropout": 0.2}),
    Member("all dropouts", most=1.3, rates=_DROPOUTS),
    Member("projection", most=1.0),
    Member("layer norm ba", {"variant": {"layer_norm": "ba"}}, 1.6, peers={LOOP: 5}),
    _option("layer norm ba_feedback", 1.6, layer_norm="ba_feedback"),
    _option("layer norm per_gate", 1.6, layer_norm="per_gate"),
    _option("layer norm per_gate_feedback", 1.6, layer_norm="per_gate_feedback"),
    Member("GRU", {"cell": "gru"}, 0.85, peers={TORCH: 3}),
    Member("GRU, reset before", {"cell": "gru", "reset_after": False}, 1.0),
    Member("RNN", {"cell": "rnn"}),
    Member("JANET", {"cell": "janet"}),
    Member("sLSTM, 4 heads", {"cell": "slstm", "num_heads": 4}, 0.8),
    Member("full gate recurrence", {"variant": {"full_gate_recurrence": True}}),
    Member("multiplicative", {"cell": "multiplicative"}),
    Member("T-LSTM", {"cell": "time_aware"}),
    Member("Phased LSTM", {"cell": "phased"}),
    Member("ON-LSTM", {"cell": "on_lstm"}),
    Member("Mogrifier", {"cell": "mogrifier"}),
)


def measure_member(
    member: Member, sizes: Sizes, settings: Settings, every: dict[str, Worker], say: Callable[[str], None]
) -> Row:
    """One row, in processes that may have measured others before.

    Raises:
        WrongResultError: our numbers, or those of the plain LSTM, differ from the reference's; nothing was timed.
    """
    case, plain, absent = member.case(sizes), Member("plain LSTM").case(sizes), {}
    notes = {OURS: _prepare(every[OURS], case), PLAIN: _prepare(every[PLAIN], plain)}
    for name in member.peers if settings.with_peers else ():
        try:
            notes[name] = _prepare(every[name], case)
        except (PeerError, WrongResultError) as error:
            absent[name] = str(error)
            say(f"  {name} does not take part: {error}")
    turns = take_turns(every, list(notes), settings)
    row = {"member": member.name, "ours": notes[OURS] | {"milliseconds": 1e3 * _seconds(turns[OURS])}, "peers": {}}
    row["cost"], row["spread"] = compare(turns[PLAIN], turns[OURS])
    for name in [name for name in notes if name not in (OURS, PLAIN)]:
        ratio, spread = compare(turns[OURS], turns[name])
        row["peers"][name] = {"ratio": ratio, "spread": spread}
    row["peers"] |= {name: {"absent": reason} for name, reason in absent.items()}
    row["goals"] = judge(member, row)
    return row


def _prepare(worker: Worker, case: Case) -> Row:
    """A peer's note and errors, once its numbers are right.

    Of layer normalisation over the first steps: a layer that has learnt nothing is chaotic with it, and over 100 steps
    the rounding of one float grows a thousand times, in the equations as well.
    """
    steps, *rest = case.sizes
    normalised = (case.cell or {}).get("variant", {}).get("layer_norm")
    short = replace(case, sizes=(min(steps, _CHECKED_STEPS if normalised else steps), *rest))
    worker.prepare(short)
    try:
        errors = check(short, "family", worker.values(), expected_values(short, make_data(short)))
    except PeerError as error:
        raise WrongResultError(f"{case.name}: {error}") from None
    return {"note": worker.prepare(case), **errors}


_CHECKED_STEPS = 10


def compare(base: list[Turn], other: list[Turn]) -> tuple[float, list[float]]:
    """The other's time over the base's: the ratio of medians, and the spread over rounds."""
    ratios = [b.seconds / a.seconds for a, b in zip(base, other, strict=True)]
    return _seconds(other) / _seconds(base), [min(ratios), max(ratios)]


def _seconds(turns: list[Turn]) -> float:
    return statistics.median(turn.seconds for turn in turns)


def judge(member: Member, row: Row) -> list[Row]:
    """Each goal in words, and whether it was met; None where its peer was not measured."""
    goals = []
    if member.most is not None:
        goals.append({"text": f"at most {member.most:g}x plain", "met": row["cost"] <= member.most})
    for name, least in member.peers.items():
        ratio = row["peers"].get(name, {}).get("ratio")
        goals.append({"text": f"{name} at least {least:g}x", "met": None if ratio is None else ratio >= least})
    return goals


def line_of(row: Row) -> str:
    """A row for the screen."""
    ours, cost = row["ours"], _ratio(row["cost"], row["spread"])
    parts = [f"{ours['milliseconds']:.3g} ms", f"{cost} plain", ours["note"], *_peers(row)]
    return f"{row['member']:30} {', '.join(parts)}; {_goals(row) or 'no goal'}"


def _peers(row: Row) -> list[str]:
    every = row["peers"].items()
    return [
        f"{name} {_ratio(p['ratio'], p['spread'])}" if "ratio" in p else f"{name} not measured" for name, p in every
    ]


def _ratio(value: float, spread: list[float]) -> str:
    return f"{value:.2f}x ({spread[0]:.2f}-{spread[1]:.2f})"


def _goals(row: Row) -> str:
    words = {True: "met", False: "MISSED", None: "not measured"}
    return "; ".join(f"{goal['text']} {words[goal['met']]}" for goal in row["goals"])


def table_of(results: dict[str, Any]) -> str:
    """The rows for the docs."""
    machine, sizes = machine_text(results["machine"]), ", ".join(map(str, results["sizes"]))
    head = ["cell or option", "ms", "of a plain LSTM's time", "engine", "how many times as fast as", "goals"]
    table = [head, ["---"] * len(head), *map(_cells, results["rows"])]
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    return "\n".join([f"{machine} Training steps, T, B, I, H = {sizes}, float32.", "", *lines])


def _cells(row: Row) -> list[str]:
    ours, cost = row["ours"], f"**{_ratio(row['cost'], row['spread'])}**"
    engine = ours["note"].removeprefix("engine ")
    return [row["member"], f"{ours['milliseconds']:.3g}", cost, engine, "; ".join(_peers(row)), _goals(row)]


def main() -> None:
    """Measure what was asked for; Ctrl-C keeps the rows measured so far."""
    given = _parse()
    if given.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    settings = Settings(given.rounds or (2 if given.quick else 7), 0.05 if given.quick else 0.15, not given.no_peers)
    members = [member for member in MEMBERS if given.case in member.name]
    if not members:
        raise SystemExit(f"no row is called {given.case!r}; there are: {'; '.join(member.name for member in MEMBERS)}")
    machine = describe_machine()
    results: dict[str, Any] = {"machine": machine, "sizes": list(given.sizes), "settings": vars(settings), "rows": []}
    path = given.json or RESULTS / f"{machine_slug(machine)}-family.json"
    try:
        measure_members(members, given.sizes, settings, results, path)
    except KeyboardInterrupt:
        print("stopped")
    goals = [goal["met"] for row in results["rows"] for goal in row["goals"]]
    print(f"goals: {goals.count(True)} met, {goals.count(False)} missed, {goals.count(None)} not measured")
    if given.write:
        if len(results["rows"]) < len(MEMBERS):
            raise SystemExit("the table is written when every row was measured")
        write_between_markers(PERFORMANCE, "family", table_of(results))


def measure_members(
    members: list[Member], sizes: Sizes, settings: Settings, results: dict[str, Any], path: Path
) -> None:
    """Add each row to the results as it is measured."""
    with ExitStack() as stack:
        names = {OURS, PLAIN, *(name for member in members for name in member.peers if settings.with_peers)}
        every = {name: stack.enter_context(Worker(name)) for name in sorted(names)}
        for member in members:
            row = measure_member(member, sizes, settings, every, print)
            results["rows"].append(row)
            print(line_of(row), flush=True)
            write_json(path, results)


def _sizes(text: str) -> Sizes:
    T, B, I, H = map(int, text.split(","))  # noqa: E741
    return T, B, I, H


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.family", description=__doc__)
    parser.add_argument("--case", default="", help="only rows whose name holds this")
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="T,B,I,H")
    parser.add_argument("--rounds", type=int, help="turns of each; 7 by default")
    parser.add_argument("--quick", action="store_true", help="2 short rounds; for trying out")
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    parser.add_argument("--threads", type=int, default=2, help="processors, for everyone; 0 is all; Linux")
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
