"""Measurements as text: lines for the screen, tables for the README and the docs."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.runner import Row

START, END = "<!-- bench:start -->", "<!-- bench:end -->"


def lines_of(row: Row) -> str:
    """One case for the screen: ours, then each peer."""
    ours = row["ours"]
    of_peak = f"{ours['percent_of_peak']:.0f} % of peak, " if "percent_of_peak" in ours else ""
    rate = row["operations"] / ours["milliseconds"] / 1e6
    head = (
        f"{row['case']:34} {ours['milliseconds']:8.2f} ms  {of_peak}{rate:.0f} GF/s, {ours['faults']:.0f} faults, "
        f"{ours['note']}, errors {ours['output_error']:.0e} {ours['gradient_error']:.0e}"
    )
    goals = {goal["against"]: goal for goal in row["goals"]}
    return "\n".join([head, *(_peer_line(name, peer, goals.get(name)) for name, peer in row["peers"].items())])


def _peer_line(name: str, peer: Row, goal: Row | None) -> str:
    if "absent" in peer:
        return f"  {name:32} not measured: {peer['absent']}"
    low, high = peer["spread"]
    text = (
        f"  {name:32} {peer['milliseconds']:8.2f} ms  {peer['ratio']:5.2f}x ({low:.2f}-{high:.2f}), "
        f"{peer['faults']:.0f} faults"
    )
    if peer.get("without"):
        text += f", gives no {', '.join(peer['without'])}"
    if peer["stolen_milliseconds"] > 5:
        text += f", UNFAIR: used {peer['stolen_milliseconds']:.0f} ms of processor between its turns"
    return text + (f"  goal {goal['goal']}x: {_verdict(goal)}" if goal else "")


def _verdict(goal: Row) -> str:
    return {True: "met", False: "MISSED", None: "not measured"}[goal["met"]]


def table_of(results: dict[str, Any]) -> str:
    """All cases as a Markdown table with the machine above it."""
    machine = results["machine"]
    peak = ", ".join(f"{value / 1e9:.0f} GF/s {number}" for number, value in machine["peak"].items())
    text = [
        f"{machine['processor']}, {machine['threads']} threads, {machine['instruction_set']}; measured peak {peak}.",
        "Ratios are their time over ours, medians of turns in one run, with the rounds' spread.",
        "",
        "| case (T, B, I, H) | ours | of peak | page faults | their time over ours | goals |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*text, *map(_table_row, results["rows"])])


def _table_row(row: Row) -> str:
    ours = row["ours"]
    of_peak = f"{ours['percent_of_peak']:.0f} %" if "percent_of_peak" in ours else ""
    peers = "; ".join(_peer_cell(name, peer) for name, peer in row["peers"].items())
    goals = "; ".join(f"{goal['against']} {goal['goal']}x {_verdict(goal)}" for goal in row["goals"])
    return f"| {row['case']} | {ours['milliseconds']:.2f} ms | {of_peak} | {ours['faults']:.0f} | {peers} | {goals} |"


def _peer_cell(name: str, peer: Row) -> str:
    if "absent" in peer:
        return f"{name} not measured"
    low, high = peer["spread"]
    return f"{name} **{peer['ratio']:.2f}** ({low:.2f}-{high:.2f})"


def write_between_markers(page: Path, text: str) -> None:
    """Put ``text`` between a page's two markers."""
    before, start, rest = page.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise SystemExit(f"{page.name} has no lines {START} and {END} for the table to stand between")
    write_atomically(page, f"{before}{START}\n{text}\n{END}{after}")


def write_json(path: Path, results: dict[str, Any]) -> None:
    """The results, so that whoever reads the file meanwhile sees the old or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(results, indent=1) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write beside ``path``, then put it in its place."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
    os.chmod(file.name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
    os.replace(file.name, path)
