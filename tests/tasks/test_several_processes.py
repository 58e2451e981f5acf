"""In every room two processes learn what one does: its batches can be shared, its loss says what it averages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("several_worker.py")
ROOMS = ("classify", "forecast", "lm", "tag", "tag words", "translate")


def scores(folder: Path, *words: str) -> dict[str, list[float]]:
    command = [sys.executable, *words, str(WORKER), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "told0.json").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, list[float]]:
    return scores(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> dict[str, list[float]]:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    return scores(tmp_path_factory.mktemp("together"), *launcher)


@pytest.mark.parametrize("room", ROOMS)
def test_losses_and_scores_of_two_processes__match_one(alone, together, room) -> None:
    assert len(alone[room]) >= 4
    assert alone[room][0] != alone[room][-2]
    assert together[room] == pytest.approx(alone[room], rel=1e-4)
