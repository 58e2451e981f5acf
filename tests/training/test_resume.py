import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import lstmkit.training.checkpoint as checkpoint_module
from lstmkit.spec import LSTMKitError, ModelFileError, OptionError
from lstmkit.training import TrainingConfig, TrainingResult, fit

WORKER = Path(__file__).with_name("resume_worker.py")


class CrashError(Exception):
    pass


def crashing(loss, at: int):
    calls = 0

    def crash_or_loss(module, batch):
        nonlocal calls
        calls += 1
        if calls == at:
            raise CrashError
        return loss(module, batch)

    return crash_or_loss


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    for (name, left), right in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(left, right), name


def without_times(result: TrainingResult) -> TrainingResult:
    validations = tuple(replace(row, seconds=0.0) for row in result.validations)
    return replace(result, seconds=0.0, resumed_from=None, validations=validations)


BASE = {"learning_rate": 0.03, "device": "cpu", "quiet": True}
CONFIGS = {
    "epochs-average-one_cycle": {"max_epochs": 4, "averaging": 0.9, "schedule": "one_cycle", "weight_decay": 0.1},
    "sgd-triggered-halving": {
        "max_epochs": 4,
        "validate_every": 2,
        "averaging": "triggered",
        "optimizer": "sgd",
        "schedule": "halving",
        "hold_epochs": 1,
        "learning_rate": 3.0,
    },
    "steps-validate_every": {"max_steps": 17, "validate_every": 4, "patience": 3},
    "patience-constant": {"max_epochs": 9, "patience": 1, "schedule": "constant", "learning_rate": 1.0},
}


@pytest.mark.parametrize("crash_at", [2, 5, 6, 11, 14])
@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("name", CONFIGS)
def test_resumed_run__equals_uninterrupted_run(problem: SimpleNamespace, tmp_path: Path, name, every, crash_at) -> None:
    config = TrainingConfig(**BASE | CONFIGS[name], checkpoint=tmp_path / "run", checkpoint_every=every)
    whole = problem.build()
    expected = fit(whole, problem.batches, **problem.parts, config=config)
    if expected.steps < crash_at:
        crash_at = expected.steps
    broken, resumed = problem.build(), problem.build()
    parts = problem.parts | {"loss": crashing(problem.loss, crash_at)}
    with pytest.raises(CrashError):
        fit(broken, problem.batches, **parts, config=config)
    with torch.no_grad():
        for weight in resumed.parameters():
            weight.fill_(float("nan"))
    result = fit(resumed, problem.batches, **problem.parts, config=config)
    assert_same_weights(resumed, whole)
    assert without_times(result) == without_times(expected)
    assert result.resumed_from == (crash_at - 1) // every * every
    assert not config.checkpoint.exists()


def test_killed_process__equals_uninterrupted_run(tmp_path: Path) -> None:
    def run(checkpoint: str, output: str, kill_at: int) -> int:
        command = [sys.executable, str(WORKER), str(tmp_path / checkpoint), str(tmp_path / output), str(kill_at)]
        return subprocess.run(command, check=False, timeout=120).returncode

    assert run("one", "whole", 0) == 0
    assert run("two", "never", 13) == -9
    assert (tmp_path / "two").exists()
    assert run("two", "resumed", 0) == 0
    whole, resumed = load_file(tmp_path / "whole"), load_file(tmp_path / "resumed")
    assert whole.keys() == resumed.keys()
    for name in whole:
        assert torch.equal(whole[name], resumed[name]), name
    with safe_open(tmp_path / "resumed", "pt") as file:
        assert file.metadata()["resumed_from"] == "12"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resumed", "whole"]


@pytest.fixture
def stopped_run(problem: SimpleNamespace, tmp_path: Path) -> TrainingConfig:
    """A run that crashed and left its checkpoint."""
    config = TrainingConfig(**BASE, max_steps=9, checkpoint=tmp_path / "run", checkpoint_every=2)
    with pytest.raises(CrashError):
        fit(problem.build(), problem.batches, loss=crashing(problem.loss, 6), config=config)
    return config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rate": 0.1}, "its learning_rate is 0.03, here it is 0.1"),
        ({"averaging": 0.9}, "its averaging is None, here it is 0.9"),
        ({"max_steps": 20}, "its max_steps is 9, here it is 20"),
        ({"seed": 3}, "its seed is 0, here it is 3"),
    ],
)
def test_checkpoint__rejects_other_config(problem, stopped_run, change, sentence) -> None:
    with pytest.raises(OptionError, match=sentence):
        fit(problem.build(), problem.batches, loss=problem.loss, config=replace(stopped_run, **change))
    assert stopped_run.checkpoint.exists()


def test_checkpoint__rejects_other_identity_or_amount_of_data(problem, stopped_run) -> None:
    with pytest.raises(OptionError, match="its identity is ''"):
        fit(problem.build(), problem.batches, loss=problem.loss, config=stopped_run, identity="sales")
    with pytest.raises(OptionError, match="its steps_per_epoch is 5, here it is 4"):
        fit(problem.build(), lambda epoch: list(problem.batches(epoch))[:4], loss=problem.loss, config=stopped_run)


def test_checkpoint__rejects_other_module(problem, stopped_run) -> None:
    wider = problem.build()
    wider.head = wider.tied = nn.Linear(10, 3)
    with pytest.raises(OptionError, match=r"'head.weight' is float32 \(2, 10\), here it is float32 \(3, 10\)"):
        fit(wider, problem.batches, loss=problem.loss, config=stopped_run)
    fewer = problem.build()
    del fewer.frozen
    with pytest.raises(OptionError, match=r"'frozen' is float32 .*, here it is missing"):
        fit(fewer, problem.batches, loss=problem.loss, config=stopped_run)


def test_checkpoint__allows_other_log_and_loudness(problem, stopped_run, tmp_path) -> None:
    config = replace(stopped_run, log=tmp_path / "log", checkpoint_every=None, quiet=False)
    assert fit(problem.build(), problem.batches, loss=problem.loss, config=config).resumed_from == 4
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert events[0]["resumed"] is True
    assert events[0]["step"] == 4


@pytest.mark.parametrize(
    "kind", ["truncated", "empty", "pickle", "other", "no-state", "no-random", "hostile-state", "hostile-moments"]
)
def test_checkpoint__rejects_damaged_file(problem, stopped_run, kind) -> None:
    path = stopped_run.checkpoint
    tensors, document = load_file(path), _document(path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        torch.save({"a": 1}, path)
    elif kind == "other":
        save_file(tensors, path, metadata={"format": "pt"})
    elif kind == "no-random":
        save_file({n: t for n, t in tensors.items() if not n.startswith("random/")}, path, _metadata(document))
    elif kind == "no-state":
        save_file(tensors, path, _metadata({**document, "state": {}}))
    elif kind == "hostile-moments":
        save_file({**tensors, "optimizer/2/exp_avg": torch.ones(1)}, path, _metadata(document))
    else:
        save_file(tensors, path, _metadata({**document, "state": {**document["state"], "unknown": 1}}))
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match="damaged or no training checkpoint; delete it"):
        fit(problem.build(), problem.batches, loss=problem.loss, config=stopped_run)
    assert path.read_bytes() == before


def test_checkpoint__rejects_newer_format(problem, stopped_run) -> None:
    tensors, document = load_file(stopped_run.checkpoint), _document(stopped_run.checkpoint)
    save_file(tensors, stopped_run.checkpoint, _metadata({**document, "version": 2}))
    with pytest.raises(ModelFileError, match="format 2, not 1"):
        fit(problem.build(), problem.batches, loss=problem.loss, config=stopped_run)


def _document(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["lstmkit"])


def _metadata(document: dict) -> dict[str, str]:
    return {"lstmkit": json.dumps(document)}


@pytest.mark.parametrize("bad", ["missing-folder", "folder"])
def test_checkpoint__rejects_unwritable_path__before_training(problem, tmp_path, bad) -> None:
    path = tmp_path / "no" / "run" if bad == "missing-folder" else tmp_path
    calls = []
    config = TrainingConfig(**BASE, max_steps=2, checkpoint=path)
    with pytest.raises(LSTMKitError, match=r"cannot (write|read)"):
        fit(problem.build(), problem.batches, loss=lambda m, b: calls.append(1), config=config)
    assert not calls


def test_full_disk__never_harms_the_old_checkpoint(problem, stopped_run, monkeypatch) -> None:
    before = stopped_run.checkpoint.read_bytes()

    def full(tensors, path, metadata) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(LSTMKitError, match="no space left on device"):
        fit(problem.build(), problem.batches, loss=problem.loss, config=stopped_run)
    assert stopped_run.checkpoint.read_bytes() == before
    assert [path.name for path in stopped_run.checkpoint.parent.iterdir()] == ["run"]
