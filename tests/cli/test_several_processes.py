"""A verb under ``torchrun``, as a user would start it: one report, one file, the same scores."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lstmkit import Forecaster

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "--")
WORDS = ("--horizon", "6", "--dropout", "0", "--max-steps", "20", "--hidden-size", "16", "--classical", "0")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    hours, noise = pd.date_range("2024-01-01", periods=150, freq="h"), np.random.default_rng(0)
    values = np.sin(np.arange(150) * 2 * np.pi / 24) + 0.2 * noise.standard_normal(150)
    path = tmp_path_factory.mktemp("data") / "table.csv"
    pd.DataFrame({"ds": hours, "y": np.where(noise.random(150) < 0.2, np.nan, values)}).to_csv(path, index=False)
    return path


def run(*words: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)


def test_fit__matches_one_process__torchrun(table, tmp_path) -> None:
    (tmp_path / "together").mkdir()
    alone = Forecaster(6, dropout=0, max_steps=20, hidden_size=16, quiet=True).fit(table)
    done = run(*TORCHRUN, "lstmkit", "forecast", "fit", table, *WORDS, "--output", tmp_path / "together" / "model")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "together").iterdir()] == ["model"]
    assert done.stdout.count("On the rows held back in training:") == 1
    assert done.stderr.count("saved ") == 1
    together = Forecaster.load(tmp_path / "together" / "model")
    for ours, theirs in zip(together.scores["methods"], alone.scores["methods"], strict=True):
        assert ours["mase"] == pytest.approx(theirs["mase"], rel=1e-3)


def test_second_process__never_prints_a_result_but_says_why_it_fails(tmp_path, monkeypatch, capsys) -> None:
    from lstmkit.cli import main

    monkeypatch.setenv("RANK", "1")
    assert main(["--version"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["forecast", "evaluate", str(tmp_path / "model"), str(tmp_path / "data")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lstmkit (process 1): ")


def test_second_process__never_writes_the_model(tmp_path, monkeypatch, table) -> None:
    forecaster = Forecaster(6, max_steps=1, hidden_size=4, quiet=True).fit(table)
    monkeypatch.setenv("RANK", "1")
    forecaster.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
