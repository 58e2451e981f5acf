"""The benchmark's own parts: what it checks with, what it writes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import report, runner
from benchmarks.cases import BEST, CASES, CELLS, OF_PEAK, OURS, OURS_FLOAT32, TORCH, TUNED, Case, Goal
from benchmarks.data import expected_values, make_data, relative_error, round_bfloat16
from benchmarks.pages import markers, write_between_markers
from benchmarks.peers import PEERS, lstmkit_layer, torch_cells, torch_layer
from benchmarks.worker import PeerError
from lstmkit.core import native_module, native_status

SMALL = Case("small", "train", (7, 5, 3, 6), (TORCH,), (Goal(TORCH, 1.0),))
VARIANTS = {
    "plain": SMALL,
    "uneven": replace(SMALL, uneven=True, bidirectional=True),
    "projection": replace(SMALL, projection=4),
    "infer": replace(SMALL, task="infer"),
}
MODULES = {OURS: lstmkit_layer, TORCH: torch_layer, CELLS: torch_cells}


@pytest.mark.parametrize("peer", [OURS, TORCH])
@pytest.mark.parametrize("case", VARIANTS.values(), ids=VARIANTS)
def test_peer__matches_reference(case: Case, peer: str) -> None:
    data = make_data(case)
    prepared = MODULES[peer].prepare(case, data)
    values, expected = prepared.read(prepared.run()), expected_values(case, data)
    assert values.keys() == expected.keys()
    assert max(relative_error(values[name], expected[name]) for name in expected) < 1e-5


@pytest.mark.parametrize("peer", [OURS, CELLS])
def test_traced_peer__matches_reference(peer: str) -> None:
    case = replace(SMALL, trace=True)
    data = make_data(case)
    prepared = MODULES[peer].prepare(case, data)
    values, expected = prepared.read(prepared.run()), expected_values(case, data)
    missing = {name for name in expected if name not in values}
    assert missing == (set() if peer == OURS else {"gate i", "gate f", "gate g", "gate o"})
    assert max(relative_error(values[name], expected[name]) for name in values) < 1e-5


def test_check__rejects_wrong_numbers() -> None:
    data = make_data(SMALL)
    expected = expected_values(SMALL, data)
    right = {name: value.astype(np.float32) for name, value in expected.items()}
    wrong = right | {"weight_hh_l0": right["weight_hh_l0"] * 1.01}
    assert runner.check(SMALL, OURS, right, expected)["gradient_error"] < 1e-6
    with pytest.raises(runner.WrongResultError, match="lstmkit is wrong"):
        runner.check(SMALL, OURS, wrong, expected)
    with pytest.raises(PeerError, match="computes something else"):
        runner.check(SMALL, TORCH, wrong, expected)
    with pytest.raises(PeerError, match="missing"):
        runner.check(SMALL, TORCH, {"output": right["output"]}, expected)


def test_relative_error__rejects_nan_and_other_shapes() -> None:
    assert relative_error(np.array([np.nan, 1.0]), np.ones(2)) == np.inf
    assert relative_error(np.ones(3), np.ones(2)) == np.inf


def test_round_bfloat16__equals_torch() -> None:
    values = np.random.default_rng(0).standard_normal(1000, np.float32)
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(round_bfloat16(values), expected)


def test_cases__match_peers() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert set(case.peers) <= PEERS.keys() - {OURS}
        assert {goal.against for goal in case.goals} <= {*case.peers, BEST, OF_PEAK}


def test_goal__matches_fastest_peer_but_default_torch() -> None:
    case = replace(SMALL, goals=(Goal(TORCH, 2.0), Goal(BEST, 2.0), Goal(OURS_FLOAT32, 2.0)))
    peers: dict[str, Any] = {TORCH: {"ratio": 3.0}, TUNED: {"ratio": 1.9}, CELLS: {"ratio": 2.5}}
    row = {"ours": {"value": 1.0}, "unit": "ms", "peers": peers | {OURS_FLOAT32: {"absent": "not built"}}}
    found = runner.judge(case.goals, row)
    assert [(goal["against"], goal["met"]) for goal in found] == [(TORCH, True), (TUNED, False), (OURS_FLOAT32, None)]


def test_markers__preserve_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    start, end = markers("bench")
    page.write_text(f"before\n{start}\nold\n{end}\nafter\n")
    write_between_markers(page, "bench", "| new |")
    assert page.read_text() == f"before\n{start}\n| new |\n{end}\nafter\n"
    assert [file.name for file in tmp_path.iterdir()] == ["page.md"]


def test_markers__rejects_page_without_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text")
    with pytest.raises(SystemExit, match="page.md has no lines"):
        write_between_markers(page, "bench", "")
    assert page.read_text() == "text"


@pytest.mark.parametrize("instruction_set", native_status().compiled)
def test_peak__matches_lanes(instruction_set: str) -> None:
    if instruction_set not in native_status().found:
        pytest.skip(f"this machine has no {instruction_set}")
    core = native_module()
    assert core is not None
    single, double = (core.peak(number, 0.05, instruction_set) for number in ("float32", "float64"))
    assert 1.5 < single / double < 2.5
    with pytest.raises(ValueError, match="got 'int3'"):
        core.peak("int3", 0.01, instruction_set)
    if instruction_set == "avx512_bf16":
        # Twice the terms in an instruction, of which a processor begins as many as of others, half or a quarter.
        times = core.peak("bfloat16", 0.05, instruction_set) / single
        assert min(abs(times / rate - 1) for rate in (2, 1, 0.5)) < 0.25
    else:
        with pytest.raises(ValueError, match="no multiply-add of bfloat16"):
            core.peak("bfloat16", 0.01, instruction_set)


def test_run__names_absent_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole case through its processes, with a peer that is not installed."""
    monkeypatch.setitem(PEERS, "nobody", replace(PEERS[TORCH], module="nobody"))
    case = replace(SMALL, peers=(TORCH, "nobody"), goals=(Goal("nobody", 1.0),))
    said: list[str] = []
    row = runner.measure(case, runner.Settings(rounds=1, seconds=0.0), {"float32": 1e9}, said.append)
    assert row["peers"][TORCH]["ratio"] > 0
    assert "absent" in row["peers"]["nobody"]
    assert "No module named 'benchmarks.peers.nobody'" in said[0]
    assert row["goals"][0]["met"] is None
    text = report.lines_of(row)
    assert "nobody" in text
    assert "not measured" in text
    assert "nobody not measured" in report._full_row(row)
