"""The rows of ``benchmarks.stream`` in the form of all others, with the goals of issue 3."""

from collections.abc import Iterable
from typing import Any

from benchmarks.cases import STREAM_GOALS, TORCH
from benchmarks.runner import Row, judge

# Its names of peers, where ours differ.
_PEERS = {"torch nn.LSTM": TORCH, "torch LSTMCell": "torch, LSTMCell"}


def rows_of_streams(measured: Iterable[dict[str, Any]]) -> list[Row]:
    """One row for each that was measured, and one for each goal whose case was not.

    Args:
        measured: Rows of ``case``, ``ours``, ``peers`` by name and ``unit``; more is better where the unit is per
            second. Perhaps ``missing`` peers, and ``p99``, the 99th percentile of ours.
    """
    rows = [_row_of(row) for row in measured]
    named = {row["case"] for row in rows}
    return rows + [_row_of({"case": case, "peers": {}, "unit": ""}) for case in STREAM_GOALS if case not in named]


def _row_of(measured: dict[str, Any]) -> Row:
    ours, unit = measured.get("ours"), measured["unit"]
    row: Row = {"case": measured["case"], "unit": unit, "ours": {} if ours is None else {"value": ours}, "peers": {}}
    if "p99" in measured:
        row["ours"]["tail"] = measured["p99"]
    for name, theirs in measured["peers"].items():
        ratio = ours / theirs if unit.endswith("/s") else theirs / ours
        row["peers"][_PEERS.get(name, name)] = {"value": theirs, "ratio": ratio}
    for reason in measured.get("missing", ()):
        row["peers"][reason.partition(" (")[0]] = {"absent": reason}
    return row | {"goals": judge(STREAM_GOALS.get(row["case"], ()), row)}
