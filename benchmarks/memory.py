"""What a training step needs: the most that is resident during the first call, beside its arguments."""

from collections.abc import Callable

from benchmarks.cases import OURS, Case
from benchmarks.data import expected_values, make_data
from benchmarks.runner import Row, Settings, WrongResultError, check, judge, workers
from benchmarks.worker import PeerError, environment


def measure_memory(case: Case, settings: Settings, say: Callable[[str], None]) -> Row:
    """Ours and each peer's, each in a new process.

    What a library keeps after a call, to be faster in the next, counts: so does what it gives back.

    Raises:
        WrongResultError: our numbers differ from the reference.
    """
    expected = expected_values(case, make_data(case))
    found: dict[str, Row] = {}
    names = (OURS, *(case.peers if settings.with_peers else ()))
    # Where NumPy had a large array on huge pages, small ones of the step come on whole huge pages, or by chance do not.
    with environment({"NUMPY_MADVISE_HUGEPAGE": "0"}), workers(names) as every:
        for name, worker in every.items():
            try:
                megabytes = worker.memory(case) / 1e6
                found[name] = {"value": megabytes} | check(case, name, worker.values(), expected)
            except PeerError as error:
                if name == OURS:
                    raise WrongResultError(f"{case.name}: {error}") from None
                found[name] = {"absent": str(error)}
                say(f"  {name} does not take part: {error}")
    ours = found.pop(OURS)
    for peer in found.values():
        if "value" in peer:
            peer["ratio"] = peer["value"] / ours["value"]
    row: Row = {"case": case.name, "unit": "MB", "ours": ours, "peers": found}
    row["peers"] |= {name: {"absent": "--no-peers was given"} for name in case.peers if name not in found}
    return row | {"goals": judge(case.goals, row)}
