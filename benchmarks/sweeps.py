"""Time against one size with the others fixed, ours and theirs."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.cases import ONNX, OPENVINO, OURS, TORCH, TUNED, Case, Sizes, Task
from benchmarks.runner import Row, Settings, measure_among, workers

Axis = Literal["T", "B", "H"]
Points = list[tuple[int, float]]

FIXED = {"T": 96, "B": 64, "H": 64}
PEERS: dict[Task, tuple[str, ...]] = {"train": (TORCH, TUNED), "infer": (TORCH, TUNED, ONNX, OPENVINO)}
VALUES: dict[Axis, tuple[int, ...]] = {
    "H": (8, 16, 32, 64, 128, 256, 512, 1024),
    "B": (1, 4, 16, 64, 256, 1024),
    "T": (1, 8, 32, 128, 512, 2048),
}
# From here on the cost must be a line; below it a call's fixed cost and half-filled registers show.
LINEAR_FROM: dict[Axis, int] = {"T": 32, "B": 64}


@dataclass(frozen=True)
class Line:
    """How well times follow ``size ** exponent``; ``deviation`` is the largest from the line ``a + b * size``."""

    exponent: float
    deviation: float

    @property
    def linear(self) -> bool:
        """Whether the cost grows in proportion."""
        return abs(self.exponent - 1) <= 0.1


def sweep_cases(axis: Axis, quick: bool) -> Iterator[Case]:
    """The cases of one axis, both tasks."""
    for task, peers in PEERS.items():
        for value in VALUES[axis][1:4] if quick else VALUES[axis]:
            sizes = _sizes(FIXED | {axis: value})
            yield Case(f"{task} {', '.join(map(str, sizes))}", task, sizes, peers, ())


def _sizes(of: dict[str, int]) -> Sizes:
    return of["T"], of["B"], of["H"], of["H"]


def measure_sweep(axis: Axis, settings: Settings, quick: bool, say: Callable[[str], None]) -> Iterator[Row]:
    """Rows of one axis, in processes that serve all its cases."""
    names = {OURS, *(name for peers in PEERS.values() for name in peers)} if settings.with_peers else {OURS}
    with workers(tuple(sorted(names))) as every:
        for case in sweep_cases(axis, quick):
            chosen = {name: every[name] for name in (OURS, *case.peers) if name in every}
            yield measure_among(chosen, case, settings, {}, say)


def points_of(rows: list[Row], axis: Axis, task: Task) -> dict[str, Points]:
    """Milliseconds by size, of everyone."""
    at = ("T", "B", None, "H").index(axis)
    found: dict[str, Points] = {}
    for row in rows:
        if row["task"] != task:
            continue
        for name, numbers in {OURS: row["ours"], **row["peers"]}.items():
            if "value" in numbers:
                found.setdefault(name, []).append((row["sizes"][at], numbers["value"]))
    return found


def fit_line(points: Points) -> Line:
    """Exponent and deviation; at least two points."""
    sizes, times = np.array(points, float).T
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    # Weighted, so that a short time counts as much as a long one.
    slope, intercept = np.polyfit(sizes, times, 1, w=1 / times)
    return Line(exponent, float(np.abs((intercept + slope * sizes) / times - 1).max()))


def lines_of_fits(rows: dict[Axis, list[Row]]) -> dict[str, dict[str, Any]]:
    """What T and B cost: by task and axis, where at least three sizes were measured."""
    fits: dict[str, dict[str, Any]] = {}
    for axis, first in LINEAR_FROM.items():
        for task in PEERS:
            points = [point for point in points_of(rows.get(axis, []), axis, task).get(OURS, []) if point[0] >= first]
            if len(points) < 3:
                continue
            line = fit_line(points)
            last = points[-1][0]
            text = (
                f"{task}, {axis} from {first} to {last}: time grows as {axis}^{line.exponent:.2f} "
                f"({last // first}x the size, {points[-1][1] / points[0][1]:.1f}x the time), "
                f"within {math.ceil(100 * line.deviation)} % of a straight line"
            )
            fits[f"{task} {axis}"] = vars(line) | {"linear": line.linear, "text": text}
    return fits
