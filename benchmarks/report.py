"""Measurements as text: lines for the screen, a short table for the README, a full one for the docs."""

from typing import Any

from benchmarks.cases import TORCH
from benchmarks.runner import Row, best_peer


def lines_of(row: Row) -> str:
    """One case for the screen: ours, then each peer."""
    goals = {goal["against"]: goal for goal in row["goals"]}
    peers = [_peer_line(name, peer, row["unit"], goals.pop(name, None)) for name, peer in row["peers"].items()]
    rest = [f"  goal {goal['text']}: {_verdict(goal)}" for goal in goals.values()]
    return "\n".join([f"{row['case']:42} {_ours_text(row)}", *peers, *rest])


def _ours_text(row: Row) -> str:
    ours = row["ours"]
    text = [amount(ours, row["unit"])]
    if "tail" in ours:
        text.append(f"99th percentile {ours['tail']:.3g}")
    if "percent_of_peak" in ours:
        text.append(f"{ours['percent_of_peak']:.0f} % of peak")
    if "operations" in row:
        text.append(f"{row['operations'] / ours['value'] / 1e6:.0f} GF/s")
    if "faults" in ours:
        text.append(f"{ours['faults']:.0f} faults")
    if "note" in ours:
        text.append(ours["note"])
    if "output_error" in ours:
        text.append(f"errors {ours['output_error']:.0e} {ours['gradient_error']:.0e}")
    return ", ".join(text)


def _peer_line(name: str, peer: Row, unit: str, goal: Row | None) -> str:
    if "absent" in peer:
        return f"  {name:32} not measured: {peer['absent']}"
    text = f"  {name:32} {amount(peer, unit)}, {_ratio_text(peer)}"
    if "faults" in peer:
        text += f", {peer['faults']:.0f} faults"
    if peer.get("without"):
        text += f", gives no {', '.join(peer['without'])}"
    if peer.get("stolen_milliseconds", 0) > 5:
        text += f", UNFAIR: used {peer['stolen_milliseconds']:.0f} ms of processor between its turns"
    return text + (f"  goal {goal['goal']}x: {_verdict(goal)}" if goal else "")


def amount(found: Row, unit: str) -> str:
    """A number with its unit."""
    if "value" not in found:
        return "not measured"
    value = found["value"]
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def _ratio_text(peer: Row) -> str:
    low, high = peer.get("spread", (None, None))
    return f"{peer['ratio']:.2f}x" + (f" ({low:.2f}-{high:.2f})" if low is not None else "")


def _verdict(goal: Row) -> str:
    return {True: "met", False: "MISSED", None: "not measured"}[goal["met"]]


_RATIOS = "A ratio says how many times as long the other takes, or as much it needs: medians of turns in one run."
_SHARES = "Behind a missed goal stands the share of the peak that our products would reach with it."


def short_table(results: dict[str, Any]) -> str:
    """One line per case that has goals: ours, how torch and the best other peer compare, whether the goals are met."""
    head = [
        "| case (T, B, I, H) | ours | against torch | against the best other | goals |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows = [_short_row(row) for row in results["rows"] if row["goals"]]
    return "\n".join([machine_text(results["machine"]), _RATIOS, "", *head, *rows])


def _short_row(row: Row) -> str:
    peers = row["peers"]
    torch = f"{peers[TORCH]['ratio']:.2f}x" if "ratio" in peers.get(TORCH, {}) else ""
    best = best_peer(peers)
    other = f"{peers[best]['ratio']:.2f}x {best}" if best and best != TORCH else ""
    return f"| {row['case']} | {amount(row['ours'], row['unit'])} | {torch} | {other} | {_summary(row['goals'])} |"


def _summary(goals: list[Row]) -> str:
    short = [f"{_verdict(goal)}: {goal['text']}" for goal in goals if not goal["met"]]
    return "; ".join(short) or "met"


def full_table(results: dict[str, Any]) -> str:
    """Every peer of every case, with spreads, page faults and the share of the machine's peak."""
    head = [
        "| case (T, B, I, H) | ours | of peak | page faults | how many times as good as | goals |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    about = [machine_text(results["machine"]), f"{_RATIOS} {_SHARES}"]
    return "\n".join([*about, "", *head, *map(_full_row, results["rows"])])


def machine_text(machine: dict[str, Any]) -> str:
    """The machine of a table in a sentence or two."""
    peak = ", ".join(f"{value / 1e9:.0f} GF/s {number}" for number, value in machine["peak"].items())
    busy = f" The machine was busy (load {machine['load']:.1f})." if machine["load"] > 0.5 else ""
    where = f"{machine['processor']}, {machine['threads']} threads, {machine['instruction_set']}"
    return f"{where}; measured peak {peak}.{busy}"


def _full_row(row: Row) -> str:
    ours = row["ours"]
    of_peak = f"{ours['percent_of_peak']:.0f} %" if "percent_of_peak" in ours else ""
    faults = f"{ours['faults']:.0f}" if "faults" in ours else ""
    peers = "; ".join(_peer_cell(name, peer) for name, peer in row["peers"].items())
    goals = "; ".join(_goal_cell(goal, row) for goal in row["goals"])
    return f"| {row['case']} | {amount(ours, row['unit'])} | {of_peak} | {faults} | {peers} | {goals} |"


def _goal_cell(goal: Row, row: Row) -> str:
    share = row["ours"].get("percent_of_peak")
    is_told = goal["met"] is False and goal["against"] in row["peers"] and share is not None
    return f"{goal['text']} {_verdict(goal)}" + (f" ({share * goal['goal'] / goal['found']:.0f} %)" if is_told else "")


def _peer_cell(name: str, peer: Row) -> str:
    return f"{name} not measured" if "absent" in peer else f"{name} **{_ratio_text(peer)}**"
