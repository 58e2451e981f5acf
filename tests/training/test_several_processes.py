"""Two processes compute what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lstmkit.spec import OptionError
from lstmkit.training.group import Group

WORKER = Path(__file__).with_name("several_worker.py")
# Sums in another order differ in the last bits; three epochs let that grow a little.
CLOSE = {"rtol": 2e-4, "atol": 2e-6}
COURSES = ("mean", "masked", "joint", "plain", "slow clock", "broken off", "resumed")


def launch(folder: Path, *words: str) -> Path:
    folder.mkdir()
    command = [sys.executable, *words, str(WORKER), str(folder)]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    return launch(tmp_path_factory.mktemp("alone") / "run")


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    return launch(tmp_path_factory.mktemp("together") / "run", *words)


def told(folder: Path, number: int = 0) -> dict:
    return json.loads((folder / f"told{number}.json").read_text())


@pytest.mark.parametrize("course", COURSES)
def test_two_processes__match_one(alone, together, course) -> None:
    ours, theirs = told(together)[course], told(alone)[course]
    for name in ("scores", "losses"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4)
    for name in ("steps", "stopped", "resumed_from"):
        assert ours[name] == theirs[name]
    weights, expected = load_file(together / "weights0"), load_file(alone / "weights0")
    assert weights.keys() == expected.keys()
    for name in (name for name in weights if name.startswith(f"{course}/")):
        torch.testing.assert_close(weights[name], expected[name], **CLOSE)


def test_carried_states__match_one_process__in_a_checkpoint(alone, together) -> None:
    weights, expected = load_file(together / "weights0"), load_file(alone / "weights0")
    assert weights["carried/half"].abs().min() > 0
    torch.testing.assert_close(weights["carried/half"], expected["carried/half"])
    for name in ("weight", "whole"):
        torch.testing.assert_close(weights[f"carried/{name}"], expected["carried/whole"], **CLOSE)


def test_two_processes__equal_each_other(together) -> None:
    first, second = load_file(together / "weights0"), load_file(together / "weights1")
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    assert told(together)["slow clock"] == told(together, 1)["slow clock"]


def test_interrupted_processes__match_uninterrupted_ones__resumed(together) -> None:
    course = told(together)
    assert course["broken off"]["stopped"] == "interrupted"
    assert course["left"]
    assert not course["kept"]
    assert course["resumed"]["resumed_from"] == 8
    assert course["resumed"]["scores"] == course["masked"]["scores"]


def test_two_processes__never_draw_the_same_dropout(together) -> None:
    first, second = told(together)["numbers"], told(together, 1)["numbers"]
    assert len(first) == len(second) == 15
    drawn = [number for row in first + second for number in row]
    assert len(set(drawn)) == len(drawn)


def test_two_processes__never_both_write_the_log(together) -> None:
    events = [json.loads(line)["event"] for line in (together / "log").read_text().splitlines()]
    assert [events.count(name) for name in ("start", "validation", "end")] == [1, 3, 1]


def test_two_processes__rejects_damaged_checkpoint__in_both(together) -> None:
    errors = {told(together, number)["error"] for number in (0, 1)}
    assert len(errors) == 1
    assert "damaged or no training checkpoint" in errors.pop()


def test_accelerate_launch__matches_one(alone, tmp_path) -> None:
    words = ("-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2")
    folder = launch(
        tmp_path / "run", *words, "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"
    )
    assert told(folder)["masked"]["scores"] == pytest.approx(told(alone)["masked"]["scores"], rel=1e-4)


def test_group__takes_every_row_once() -> None:
    batch = {"x": torch.arange(7), "y": [torch.arange(14).view(7, 2)], "scale": torch.tensor(2.0), "name": "kept"}
    parts = [Group(number, 3, torch.device("cpu")).take(batch) for number in range(3)]
    assert sorted(row for part, _ in parts for row in part["x"].tolist()) == list(range(7))
    assert sum(weight for _, weight in parts) == pytest.approx(1)
    for part, _ in parts:
        assert part["y"][0][:, 0].tolist() == [2 * row for row in part["x"].tolist()]
        assert (part["scale"], part["name"]) == (2.0, "kept")


def test_group__takes_a_row_that_counts_nothing__fewer_rows_than_processes() -> None:
    part, weight = Group(2, 3, torch.device("cpu")).take([torch.ones(2, 4)])
    assert (len(part[0]), weight) == (1, 0)


def test_group__rejects_rows_of_unequal_number() -> None:
    with pytest.raises(OptionError, match=r"here their first dimensions are \[2, 3\]"):
        Group(0, 2, torch.device("cpu")).take((torch.ones(2), torch.ones(3)))
