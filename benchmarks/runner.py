"""One case: ours and its peers, checked against the reference, then timed in turn."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.cases import AT_LEAST, AT_MOST, BEST, OF_PEAK, OURS, OURS_FLOAT32, TAIL, TORCH, Case, Goal
from benchmarks.data import Data, Values, expected_values, make_data, relative_error
from benchmarks.subject import Turn
from benchmarks.worker import PeerError, Worker

Row = dict[str, Any]

# What a peer may be off by and still count as computing the same.
PEER_TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
OUR_TOLERANCE = {"float32": {"output": 1e-6, "gradient": 1e-5}, "bfloat16": {"output": 1e-2, "gradient": 2e-2}}


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure: rounds of turns of ``seconds`` and some calls each, with or without peers."""

    rounds: int = 5
    seconds: float = 0.15
    with_peers: bool = True
    least_calls: int = 2


class WrongResultError(Exception):
    """Our own numbers are wrong, so no time of ours means anything."""


@contextmanager
def workers(names: tuple[str, ...]) -> Iterator[dict[str, Worker]]:
    """A process for each name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Worker(name)) for name in names}


def measure(case: Case, settings: Settings, peak: dict[str, float], say: Callable[[str], None]) -> Row:
    """Everything about one case, as the JSON holds it.

    Raises:
        WrongResultError: our numbers differ from the reference; nothing was timed.
    """
    with workers((OURS, *(case.peers if settings.with_peers else ()))) as every:
        return measure_among(every, case, settings, peak, say)


def measure_among(
    every: dict[str, Worker], case: Case, settings: Settings, peak: dict[str, float], say: Callable[[str], None]
) -> Row:
    """As :func:`measure`, in processes that may have measured other cases before."""
    data = make_data(case)
    ready, absent = _prepare(case, every, expected_values(case, data), say)
    row = _row(case, data, take_turns(every, list(ready), settings), peak)
    for name, found in ready.items():
        _of(row, name).update(found)
    row["peers"] |= {name: {"absent": reason} for name, reason in absent.items()}
    row["peers"] |= {name: {"absent": "--no-peers was given"} for name in case.peers if name not in every}
    row["goals"] = judge(case.goals, row)
    return row


def take_turns(every: dict[str, Worker], names: list[str], settings: Settings) -> dict[str, list[Turn]]:
    """Rounds in which each has one turn; every other goes backwards, so that nobody always follows the same one."""
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    for round_ in range(settings.rounds):
        for name in reversed(names) if round_ % 2 else names:
            turns[name].append(every[name].turn(settings.seconds, settings.least_calls))
    return turns


def _prepare(
    case: Case, every: dict[str, Worker], expected: Values, say: Callable[[str], None]
) -> tuple[dict[str, Row], dict[str, str]]:
    """Notes and errors of those that can run the case, and why the others cannot."""
    ready: dict[str, Row] = {}
    absent: dict[str, str] = {}
    for name, worker in every.items():
        try:
            note = worker.prepare(case)
            ready[name] = {"note": note, **check(case, name, worker.values(), expected)}
        except PeerError as error:
            if name == OURS:
                raise WrongResultError(f"{case.name}: {error}") from None
            absent[name] = str(error)
            say(f"  {name} does not take part: {error}")
    return ready, absent


def check(case: Case, name: str, values: Values, expected: Values) -> Row:
    """How far a peer's numbers are from the reference's.

    Raises:
        WrongResultError: ours are too far.
        PeerError: theirs are.
    """
    errors = {key: relative_error(values[key], value) for key, value in expected.items() if key in values}
    missing = sorted(expected.keys() - values.keys())
    found = {
        "output_error": errors["output"],
        "gradient_error": max((error for key, error in errors.items() if _is_gradient(key)), default=0.0),
    }
    dtype = "float32" if name == OURS_FLOAT32 else case.dtype
    # Rounding grows with the square root of a sum's length.
    length = max(1.0, (case.sizes[2] + case.sizes[3]) / 64) ** 0.5
    if name in (OURS, OURS_FLOAT32):
        allowed = {kind: length * value for kind, value in OUR_TOLERANCE[dtype].items()}
        if missing or any(found[f"{kind}_error"] > value for kind, value in allowed.items()):
            raise WrongResultError(f"{case.name}: {name} is wrong: {found}, allowed {allowed}, missing {missing}")
    elif any(key.startswith(("weight", "x")) for key in missing) or max(errors.values()) > PEER_TOLERANCE[dtype]:
        raise PeerError(f"it computes something else: {found}, missing {missing}")
    return found | ({"without": missing} if missing else {})


def _is_gradient(name: str) -> bool:
    return name == "x" or name.startswith(("weight", "bias"))


def _row(case: Case, data: Data, turns: dict[str, list[Turn]], peak: dict[str, float]) -> Row:
    ours = turns[OURS]
    operations = case.operations(data.steps)
    row: Row = {
        "case": case.name,
        "unit": "ms",
        "task": case.task,
        "sizes": list(case.sizes),
        "dtype": case.dtype,
        "operations": operations,
        "ours": _numbers(ours),
        "peers": {},
    }
    if case.dtype in peak:
        row["ours"]["percent_of_peak"] = 100 * operations / _seconds(ours) / peak[case.dtype]
    for name, theirs in turns.items():
        if name == OURS:
            continue
        row["peers"][name] = _numbers(theirs) | compare_turns(ours, theirs)
    return row


def compare_turns(ours: list[Turn], theirs: list[Turn]) -> Row:
    """Their time over ours: the ratio of the medians, and the rounds' spread."""
    ratios = [b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True)]
    return {"ratio": _seconds(theirs) / _seconds(ours), "spread": [min(ratios), max(ratios)]}


def _numbers(turns: list[Turn]) -> Row:
    return {
        "value": 1e3 * _seconds(turns),
        "faults": statistics.median(turn.faults for turn in turns),
        "calls": sum(turn.calls for turn in turns),
        # Processor time that it took while others were measured: 0 in a fair run.
        "stolen_milliseconds": 1e3 * max(turn.idle for turn in turns),
    }


def _seconds(turns: list[Turn]) -> float:
    return statistics.median(turn.seconds for turn in turns)


def _of(row: Row, name: str) -> Row:
    return row["ours"] if name == OURS else row["peers"][name]


def best_peer(peers: dict[str, Row]) -> str | None:
    """The one that comes closest to us, or is furthest ahead; not default torch unless it is alone."""
    ratios = {name: peer["ratio"] for name, peer in peers.items() if "ratio" in peer}
    others = [name for name in ratios if name != TORCH or len(ratios) == 1]
    return min(others, key=ratios.__getitem__, default=None)


def judge(goals: tuple[Goal, ...], row: Row) -> list[Row]:
    """Each goal with what was measured; nothing where its peer is absent."""
    return [_judge_one(goal, row) for goal in goals]


def _judge_one(goal: Goal, row: Row) -> Row:
    against = (best_peer(row["peers"]) if goal.against == BEST else None) or goal.against
    found = _found(against, row)
    most = goal.against in (AT_MOST, TAIL)
    met = None if found is None else (found <= goal.factor if most else found >= goal.factor)
    text = replace(goal, against=against).text(row["unit"])
    return {"against": against, "goal": goal.factor, "found": found, "met": met, "text": text}


def _found(against: str, row: Row) -> float | None:
    ours = row["ours"]
    if against in (AT_MOST, AT_LEAST):
        return ours.get("value")
    if against == OF_PEAK:
        return ours.get("percent_of_peak")
    if against == TAIL:
        return ours["tail"] / ours["value"] if "tail" in ours else None
    return row["peers"].get(against, {}).get("ratio")
