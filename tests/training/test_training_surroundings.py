"""What a run does around the training: files, output, Ctrl-C."""

import io
import json
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from lstmkit.spec import LSTMKitError, OptionError
from lstmkit.training import TrainingConfig, fit, machine
from lstmkit.training.progress import Bar, Lines, Status

BASE = {"learning_rate": 0.03, "device": "cpu"}


def test_quiet_fit__never_prints_or_warns(problem, capfd) -> None:
    def loss(module, batch):
        warnings.warn("a library clears its throat", stacklevel=1)
        return problem.loss(module, batch)

    config = TrainingConfig(**BASE, max_epochs=2, quiet=True)
    fit(problem.build(), problem.batches, loss=loss, validate=problem.validate, config=config)
    assert capfd.readouterr() == ("", "")


def test_fit__never_prints_more_than_few_lines__no_terminal(problem, capfd) -> None:
    config = TrainingConfig(**BASE, max_steps=40, validate_every=1)
    fit(problem.build(), problem.batches, **problem.parts, config=config, title="sums")
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert 1 <= len(lines) <= 3
    assert lines[-1].startswith("sums: step 40/40  epoch 8  loss ")
    for word in ("validation", "best", "steps/s", "0:00 left"):
        assert word in lines[-1]


def test_fit__never_hides_skipped_steps(problem, capfd) -> None:
    calls = []

    def loss(module, batch):
        calls.append(1)
        return problem.loss(module, batch) * (float("nan") if len(calls) == 2 else 1)

    fit(problem.build(), problem.batches, loss=loss, config=TrainingConfig(**BASE, max_steps=4))
    assert "1 of 4 steps skipped" in capfd.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar__never_lacks_a_figure__terminal(problem, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    fit(problem.build(), problem.batches, **problem.parts, config=TrainingConfig(**BASE, max_epochs=2), title="sums")
    last = terminal.getvalue()
    for word in ("sums", "100%", "loss", "validation", "steps/s", "left"):
        assert word in last


def _status(step: int) -> Status:
    return Status(step, 100, 1, step / 100, 0.5, 0.4, 0.3, 10.0, 9.0)


def test_lines__never_come_faster_than_every_two_seconds(capsys) -> None:
    now = [0.0]
    lines = Lines("t", lambda: now[0])
    for step in range(1, 100):
        now[0] += 0.5
        lines.show(_status(step), validated=True)
        assert not lines.due()
    assert len(capsys.readouterr().err.splitlines()) == 99 // 4
    now[0] += 10
    assert lines.due()


def test_bar__never_redraws_at_once() -> None:
    bar = Bar("t")
    assert bar.due()
    bar.show(_status(1))
    assert not bar.due()


def test_fit__never_writes_unasked_files(problem, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    fit(problem.build(), problem.batches, **problem.parts, config=TrainingConfig(**BASE, max_epochs=2, patience=1))
    assert list(tmp_path.rglob("*")) == []


def test_log__matches_result(problem, tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "older"}\n')
    config = TrainingConfig(**BASE, max_steps=9, validate_every=4, log=path, log_every=3, quiet=True)
    result = fit(problem.build(), problem.batches, **problem.parts, config=config)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    between = ["train", "validation"] * 3
    assert [row["event"] for row in rows] == ["older", "start", *between, "end"]
    assert [row["step"] for row in rows if row["event"] == "validation"] == [4, 8, 9]
    assert [row["step"] for row in rows if row["event"] == "train"] == [3, 6, 9]
    assert [row["score"] for row in rows if row["event"] == "validation"] == [row.score for row in result.validations]
    assert rows[-1]["stopped"] == "steps"
    assert rows[1]["config"]["learning_rate"] == 0.03


def test_log__rejects_unwritable_path(problem, tmp_path) -> None:
    config = TrainingConfig(**BASE, max_steps=1, log=tmp_path / "no" / "log")
    with pytest.raises(LSTMKitError, match=r"cannot write the log .*: no such file or directory; give another"):
        fit(problem.build(), problem.batches, loss=problem.loss, config=config)


def interrupting(loss, *at: int):
    calls = []

    def press_or_loss(module, batch):
        calls.append(1)
        if len(calls) in at:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(module, batch)

    return press_or_loss


def test_interrupted_run__equals_uninterrupted_run__resumed(problem, tmp_path: Path) -> None:
    config = TrainingConfig(**BASE, max_epochs=4, quiet=True, averaging=0.9, checkpoint=tmp_path / "run")
    whole, module = problem.build(), problem.build()
    fit(whole, problem.batches, **problem.parts, config=config)
    parts = problem.parts | {"loss": interrupting(problem.loss, 13)}
    result = fit(module, problem.batches, **parts, config=config)
    assert result.interrupted
    assert [row.step for row in result.validations] == [5, 10]
    best = min(result.validations, key=lambda row: row.score)
    assert (result.steps, result.best_step, result.best_score) == (13, best.step, best.score)
    assert problem.validate(module.eval()) == result.best_score
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    result = fit(module, problem.batches, **problem.parts, config=config)
    assert result.resumed_from == 13
    for left, right in zip(module.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(left, right)


def test_second_interrupt__never_waits(problem) -> None:
    module = problem.build()
    with pytest.raises(KeyboardInterrupt):
        fit(module, problem.batches, loss=_twice(problem.loss), config=TrainingConfig(**BASE, max_steps=9, quiet=True))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not AcceleratorState._shared_state


def _twice(loss):
    def press(module, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return loss(module, batch)

    return press


def test_interrupt_of_another_handler__never_escapes(problem) -> None:
    def loss(module, batch):
        raise KeyboardInterrupt

    assert fit(
        problem.build(), problem.batches, loss=loss, config=TrainingConfig(**BASE, max_steps=9, quiet=True)
    ).interrupted


def test_fit__never_needs_the_main_thread(problem) -> None:
    results = []

    def work() -> None:
        results.append(
            fit(problem.build(), problem.batches, loss=problem.loss, config=TrainingConfig(**BASE, max_steps=2))
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0].steps == 2


def test_fit__never_keeps_accelerates_state(problem) -> None:
    config = TrainingConfig(**BASE, max_steps=1, quiet=True, mixed_precision="bf16")
    fit(problem.build(), problem.batches, loss=problem.loss, config=config)
    assert not AcceleratorState._shared_state
    Accelerator(cpu=True, mixed_precision="no")
    try:
        with pytest.raises(OptionError, match="Accelerate cannot train so"):
            fit(problem.build(), problem.batches, loss=problem.loss, config=config)
        assert AcceleratorState._shared_state
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_fit__rejects_a_missing_gpu(problem) -> None:
    with pytest.raises(OptionError, match="torch finds no GPU"):
        fit(problem.build(), problem.batches, loss=problem.loss, config=TrainingConfig(max_steps=1, device="cuda"))


def test_run_interrupted_between_epochs__equals_uninterrupted_run__resumed(problem, tmp_path: Path) -> None:
    config = TrainingConfig(**BASE, max_epochs=4, quiet=True, checkpoint=tmp_path / "run")
    whole, module = problem.build(), problem.build()
    expected = fit(whole, problem.batches, **problem.parts, config=config)
    press = interrupting(lambda module, _: problem.validate(module), 2)
    parts = problem.parts | {"validate": lambda module: press(module, None)}
    assert fit(module, problem.batches, **parts, config=config).steps == 10
    result = fit(module, problem.batches, **problem.parts, config=config)
    assert result.resumed_from == 10
    # The best weights may be older than the interruption; scores and losses are not.
    for row, other in zip(result.validations, expected.validations, strict=True):
        assert (row.score, row.loss) == (other.score, other.loss)
    for left, right in zip(module.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize(
    ("has", "gain", "expected"),
    [(True, 2.0, torch.bfloat16), (True, None, torch.bfloat16), (True, 0.5, None), (False, 2.0, None)],
)
def test_auto__equals_what_the_processor_is_faster_with(problem, monkeypatch, has: bool, gain, expected) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(machine, "bfloat16_gain", lambda: gain)
    module, seen = problem.build(), []
    forward = type(module).forward

    def watched(self, *arguments):
        seen.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None)
        return forward(self, *arguments)

    monkeypatch.setattr(type(module), "forward", watched)
    fit(module, problem.batches, loss=problem.loss, config=TrainingConfig(**BASE, max_steps=2, mixed_precision="auto"))
    assert seen == [expected] * 2
