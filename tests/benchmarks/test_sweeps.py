"""Sweeps, grid and streams: what is made of measurements."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import grid, report
from benchmarks.cases import AT_MOST, OURS, STREAM_GOALS, TAIL, TORCH, Case
from benchmarks.charts import draw
from benchmarks.heat_map import draw_heat_map
from benchmarks.memory import measure_memory
from benchmarks.peers import PEERS
from benchmarks.runner import Settings
from benchmarks.stream import memory_rows
from benchmarks.streaming import rows_of_streams
from benchmarks.subject import Subject, Turn
from benchmarks.sweeps import fit_line, lines_of_fits, points_of
from lstmkit.core import native_status

SMALL = Case("small", "train", (7, 5, 3, 6), (TORCH,), ())


def sweep_row(T: int, milliseconds: float) -> dict[str, Any]:
    peers = {TORCH: {"value": 2 * milliseconds}, "nobody": {"absent": "not installed"}}
    return {"task": "train", "sizes": [T, 64, 64, 64], "ours": {"value": milliseconds}, "peers": peers}


def test_fit__matches_known_growth() -> None:
    straight = fit_line([(size, 3.0 + 0.5 * size) for size in (64, 256, 1024)])
    assert straight.deviation < 1e-9
    square = fit_line([(size, 1e-3 * size**2) for size in (64, 256, 1024)])
    assert square.exponent == pytest.approx(2)
    assert not square.linear


def test_fits__match_rows_of_large_sizes() -> None:
    # The first is a call's fixed cost, which a line through the others does not know.
    rows = [sweep_row(1, 50.0), sweep_row(32, 3.2), sweep_row(128, 12.8), sweep_row(512, 51.2)]
    found = lines_of_fits({"T": rows})["train T"]
    assert found["linear"]
    assert "T^1.00 (16x the size, 16.0x the time)" in found["text"]
    assert points_of(rows, "T", "train")[TORCH][-1] == (512, 102.4)
    assert "nobody" not in points_of(rows, "T", "train")


def test_chart__names_everyone_measured(tmp_path: Path) -> None:
    rows = [sweep_row(32, 3.2) | {"task": task} for task in ("infer", "train")]
    text = draw("T", rows, tmp_path).read_text()
    assert OURS in text
    assert "nobody" not in text


def test_grid__never_repeats_a_cell() -> None:
    sizes = [(case.task, *case.sizes) for case in grid.grid_cases()]
    assert len(set(sizes)) == len(sizes)
    assert {T for _, T, *_ in sizes} == {1, 8, 32, 128, 512}
    assert max(B for _, _, B, *_ in sizes) == 2048
    assert max(H for *_, H in sizes) == 1024


def cell(sizes: tuple[int, int, int, int], ratio: float) -> dict[str, Any]:
    more = {"milliseconds": 1.0, "engine": "native"}
    return {"task": "train", "sizes": list(sizes), "ratio": ratio, "spread": [ratio, ratio]} | more


def test_grid_report__matches_cells(tmp_path: Path) -> None:
    cells = [
        cell((8, 4, 16, 16), 0.8),
        cell((8, 16, 16, 16), 3.0),
        cell((8, 4, 32, 32), 1.0),
    ]
    head, *rest = grid.report(cells).splitlines()
    assert head == "3 cells: median 1.00x, best 3.00x, 1 below 0.95x"
    assert [line.split()[1:5] for line in rest if line.startswith("  ")] == [["8,", "4,", "16,", "16"]]
    draw_heat_map(cells, [8], [4, 16], [16, 32], tmp_path / "grid.svg")
    assert "T = 8" in (tmp_path / "grid.svg").read_text()


class Instant:
    """A worker that needs this long for a call."""

    def __init__(self, seconds: float, engine: str = "", value: float = 1.0) -> None:
        self.seconds, self.engine, self.value, self.turns = seconds, engine, value, 0

    def prepare(self, case: Case) -> str:
        return f"engine {self.engine}"

    def fingerprint(self) -> dict[str, tuple[float, float]]:
        return {"output": (self.value, 2.0)}

    def turn(self, seconds: float, least_calls: int) -> Turn:
        self.turns += 1
        return Turn(self.seconds, 0.0, 1, 0.0)


def test_cell__matches_times_and_is_measured_again_when_slow() -> None:
    every: Any = {OURS: Instant(2.0, "torch"), TORCH: Instant(1.0)}
    found = grid.measure_cell(every, SMALL)
    assert (found["ratio"], found["engine"], found["measured_again"]) == (0.5, "torch", True)
    assert every[OURS].turns == grid.FIRST.rounds + grid.AGAIN.rounds


def test_cell__rejects_other_numbers() -> None:
    every: Any = {OURS: Instant(1.0, "native", value=1.01), TORCH: Instant(1.0)}
    with pytest.raises(SystemExit, match="output differs from torch's by 5.0e-03"):
        grid.measure_cell(every, SMALL)


def test_fingerprint__equals_only_itself() -> None:
    found = {}
    for name, case in {"ours": SMALL, "uneven": replace(SMALL, uneven=True)}.items():
        subject = Subject(PEERS[OURS])
        subject.prepare(case)
        found[name] = subject.fingerprint()
    subject = Subject(PEERS[TORCH])
    subject.prepare(SMALL)
    grid.check_agreement(SMALL, found["ours"], subject.fingerprint())
    with pytest.raises(SystemExit, match="differs"):
        grid.check_agreement(SMALL, found["ours"], found["uneven"])


def test_grid__preserves_what_would_come_out_the_same(tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    assert grid.read_cells(path, "abc") == []
    cells = [cell((8, 64, 16, 16), 1.0), cell((8, 64, 32, 32), 1.0)]
    path.write_text(json.dumps({"code": "abc", "cells": cells}))
    assert grid.read_cells(path, "abc") == cells
    assert grid.read_cells(path, "def") == []


def test_streams__match_goals_and_name_what_is_missing() -> None:
    case = "one step B=1 I=H=64 bfloat16 threads=1"
    step = {"case": case, "unit": "us", "ours": 0.5, "p99": 2.0, "missing": ["ONNX Runtime (pip install onnxruntime)"]}
    pool = {"case": "pool of 10000 I=H=64 float32", "unit": "M steps/s", "ours": 4.0, "missing": []}
    rows = rows_of_streams([step | {"peers": {"torch nn.LSTM": 25.0}}, pool | {"peers": {"torch nn.LSTM": 1.0}}])
    by_name = {row["case"]: row for row in rows}
    assert by_name.keys() == STREAM_GOALS.keys()
    assert by_name[case]["peers"][TORCH]["ratio"] == 50
    assert "absent" in by_name[case]["peers"]["ONNX Runtime"]
    assert {goal["against"]: goal["met"] for goal in by_name[case]["goals"]} == {AT_MOST: True, TAIL: False}
    assert by_name[pool["case"]]["peers"][TORCH]["ratio"] == 4
    table = report.short_table({"machine": MACHINE, "rows": rows})
    assert f"| {case} | 0.5 us | 50.00x |  | MISSED: 99th percentile at most 2x the median |" in table
    assert "not measured: at most 0.45" in table
    assert "not measured" in report.full_table({"machine": MACHINE, "rows": rows})


@pytest.mark.parametrize(("against", "text"), [(TORCH, "goal MISSED (75 %) |"), ("of peak", "goal MISSED |")])
def test_table__matches_the_share_of_the_peak_that_a_missed_goal_takes(against: str, text: str) -> None:
    goal = {"against": against, "goal": 3.0, "found": 2.0, "met": False, "text": "goal"}
    ours = {"value": 1.0, "percent_of_peak": 50.0}
    row = {"case": "some", "unit": "ms", "ours": ours, "peers": {TORCH: {"ratio": 2.0}}, "goals": [goal]}
    assert text in report.full_table({"machine": MACHINE, "rows": [row]})


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says what is resident")
@pytest.mark.skipif(not native_status().available, reason="int8 needs the native core")
def test_memory_of_a_stream__matches_its_states() -> None:
    """At least h, c and 8 bytes more, at most a kilobyte, and under a name that has a goal."""
    rows = list(memory_rows(64))
    assert all(2 * 64 * 4 + 8 <= row["ours"] <= 1024 for row in rows)
    assert [goal["met"] for row in rows_of_streams(rows) for goal in row["goals"] if row["ours"]] == [True]


MACHINE = {"processor": "P", "threads": 2, "instruction_set": "I", "load": 0.0, "peak": {"float32": 1e9}}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says what was resident at most")
@pytest.mark.skipif(not native_status().available, reason="the reference saves more than the native core")
def test_memory__matches_what_must_be_kept() -> None:
    """At least outputs, gradients and the saved states, at most twice that."""
    case = replace(SMALL, name="memory", sizes=(64, 256, 32, 32))
    row = measure_memory(case, Settings(with_peers=False), print)
    T, B, _, H = case.sizes
    megabyte_per_array = 4e-6 * T * B * H
    assert 5 * megabyte_per_array < row["ours"]["value"] < 12 * megabyte_per_array
    assert row["peers"] == {TORCH: {"absent": "--no-peers was given"}}
