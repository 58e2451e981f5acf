"""One grammar for the verbs of all tasks: who knows one knows all."""

import pytest

from lstmkit.cli import VERBS, main

TASKS = [verb for verb in VERBS if verb not in ("convert", "doctor", "tune")]
SHARED = {
    "fit": ("--output", "--valid", "--time-limit", "--checkpoint", "--log", "--seed", "--quiet"),
    "predict": ("--output",),
    "evaluate": ("--json",),
}


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")


@pytest.mark.parametrize("command", SHARED)
@pytest.mark.parametrize("task", TASKS)
def test_task__has_the_shared_options(task: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([task, command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert [option for option in SHARED[command] if option not in shown] == []


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("task", TASKS)
def test_task__rejects_a_model_that_is_not_there__in_one_sentence(
    task: str, command: str, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.txt"
    data.write_text("a text\n")
    assert main([task, command, str(tmp_path / "model.safetensors"), str(data)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lstmkit: ")
    assert err.count("\n") == 1
    assert "model.safetensors" in err


@pytest.mark.parametrize("task", TASKS)
def test_task__rejects_wrong_usage(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([task, "fit", "--no-such-option"]) == 2
    assert main([task, "evaluate"]) == 2
    assert capsys.readouterr().out == ""
