"""The rows of ``benchmarks.stream`` in the form of all others, with the goals of issue 3."""

from collections.abc import Iterable
from typing import Any

from benchmarks.cases import STREAM_GOALS
from benchmarks.runner import Row, judge

# Units of which more is better.
_RATES = ("/s", "per second")


def rows_of_streams(measured: Iterable[dict[str, Any]]) -> list[Row]:
    """One row for each that was measured, and one for each goal whose case was not.

    Args:
        measured: Rows of ``case``, ``ours``, ``peers`` (a number each, or why there is none) and ``unit``.
    """
    rows = [_row_of(row) for row in measured]
    named = {row["case"] for row in rows}
    return rows + [_row_of({"case": case, "peers": {}, "unit": ""}) for case in STREAM_GOALS if case not in named]


def _row_of(row: dict[str, Any]) -> Row:
    ours, unit = row.get("ours"), row["unit"]
    result: Row = {"case": row["case"], "unit": unit, "ours": {} if ours is None else {"value": ours}, "peers": {}}
    for name, theirs in row["peers"].items():
        if isinstance(theirs, str) or theirs is None or ours is None:
            result["peers"][name] = {"absent": theirs if isinstance(theirs, str) else "no number"}
        else:
            ratio = ours / theirs if unit.endswith(_RATES) else theirs / ours
            result["peers"][name] = {"value": theirs, "ratio": ratio}
    return result | {"goals": judge(STREAM_GOALS.get(row["case"], ()), result)}
