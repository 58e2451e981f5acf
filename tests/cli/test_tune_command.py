"""``lstmkit tune``, with the forecaster, which is quick."""

import inspect
import json
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.foreign import bert, gpt2

from lstmkit import Forecaster
from lstmkit.cli import VERBS, main
from lstmkit.cli.tune import TASKS
from lstmkit.runtime import load
from lstmkit.training import Choice

COMMAND = [sys.executable, "-c", "import sys; from lstmkit.cli import main; sys.exit(main())", "tune", "forecast"]
TINY = ("--horizon", "6", "--max-steps", "10", "--hidden-size", "8", "--batch-size", "16", "--num-layers", "1")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    hours, noise = pd.date_range("2024-01-01", periods=120, freq="h"), np.random.default_rng(0)
    values = np.sin(np.arange(120) * 2 * np.pi / 24) + 0.2 * noise.standard_normal(120)
    path = tmp_path_factory.mktemp("data") / "table.csv"
    pd.DataFrame({"ds": hours, "y": values}).to_csv(path, index=False)
    return path


@pytest.fixture
def run(capsys):
    def command(*words: object) -> tuple[int, str, str]:
        code = main(["tune", *map(str, words)])
        return code, *capsys.readouterr()

    return command


def test_tune__keeps_the_best_model_and_shows_all_trials(run, table, tmp_path) -> None:
    output = tmp_path / "model"
    code, out, err = run("forecast", table, *TINY, "--trials", 3, "--output", output)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["trial", "score", "minutes", "dropout", "learning_rate"]
    assert len(lines) == 4
    record = Forecaster.load(output).model.document["search"]
    best = lines[1].split()
    assert best[0] == str(record["trial"])
    assert best[3] == "best"
    assert float(best[1]) == pytest.approx(record["score"], rel=1e-4)
    assert [float(line.split()[1]) for line in lines[1:]] == sorted(float(line.split()[1]) for line in lines[1:])
    assert record["options"].keys() == {"dropout", "learning_rate"}
    assert f"saved {output}, the best model: trial {record['trial']}" in err
    assert "trial 0: dropout 0.3, learning_rate 0.003" in err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


ROOMS = {
    "tag": ("t.conll", "--max-epochs", 2, "--hidden-size", 8),
    "lm": ("t.txt", "--level", "bpe.json", "--max-steps", 4, "--hidden-size", 8, "--embedding-size", 8),
    "translate": ("p.tsv", "--level", "word", "--max-steps", 4, "--hidden-size", 8, "--embedding-size", 8),
}
SEARCHED = {
    "tag": ["num_layers", "dropout", "batch_size", "learning_rate"],
    "lm": ["layers", "dropout", "streams"],
    "translate": ["num_layers", "attention", "dropout", "batch_size"],
}


@pytest.fixture
def texts(tmp_path, monkeypatch) -> Path:
    """A folder with what the rooms of language learn from."""
    monkeypatch.chdir(tmp_path)
    Path("t.conll").write_text("Ann\tB-person\nlives\tO\nin\tO\nRome\tB-place\n\nBob\tB-person\nsat\tO\n\n" * 20)
    Path("t.txt").write_text("the cat sat on the mat\nthe dog lay on the rug\n" * 40)
    Path("p.tsv").write_text("ein Hund\ta dog\ndie Katze\tthe cat\n" * 10)
    gpt2().save("bpe.json")
    return tmp_path


@pytest.mark.parametrize("task", ROOMS)
def test_tune__keeps_a_model_of_each_room(run, texts, task, capsys) -> None:
    code, out, err = run(task, *ROOMS[task], "--trials", 2, "--output", "m")
    assert (code, err.count("\n")) == (0, 6)
    assert out.splitlines()[0].split() == ["trial", "score", "minutes", *SEARCHED[task]]
    record = load("m").document["search"]
    assert [*record["options"]] == SEARCHED[task]
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in record["options"].items() if value is not None]
    options = [word for pair in pairs for word in pair]
    assert main([task, "fit", *map(str, (*ROOMS[task], *options)), "-o", "again", "-q"]) == 0
    scores = []
    for model in ("m", "again"):
        assert main([task, "evaluate", model, ROOMS[task][0], "--json"]) == 0
        scores.append(json.loads(capsys.readouterr().out))
    assert scores[0] == scores[1]


def test_tune__rejects_another_tokenizer_of_the_same_name(run, texts) -> None:
    words = ("lm", *ROOMS["lm"], "--trials", 1, "-o", "m", "--storage", "study.db", "-q")
    assert run(*words)[0] == 0
    bert().save("bpe.json")
    code, _, err = run(*words)
    assert code == 1
    assert "give another --study" in err


def test_tune__equals_fit_with_the_options_that_it_found(run, table, tmp_path) -> None:
    output = tmp_path / "model"
    code, out, err = run("forecast", table, *TINY, "--trials", 2, "-o", output, "--quiet", "--json", "--seed", 3)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 2
    options = found["best"]["options"]
    again = Forecaster(6, max_steps=10, hidden_size=8, batch_size=16, seed=3, quiet=True, **options).fit(table)
    tuned = Forecaster.load(output)
    assert tuned.scores["methods"] == again.scores["methods"]
    np.testing.assert_array_equal(tuned.predict(table)["lstm"], again.predict(table)["lstm"])


def test_tune__resumes_and_never_replaces_a_better_model(run, table, tmp_path) -> None:
    words = ("forecast", table, *TINY, "--output", tmp_path / "model", "--storage", tmp_path / "study.db")
    assert run(*words, "--trials", 2, "--quiet")[0] == 0
    first = Forecaster.load(tmp_path / "model").model.document["search"]
    code, out, _ = run(*words, "--trials", 1, "--json")
    assert code == 0
    found = json.loads(out)
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2]
    last = Forecaster.load(tmp_path / "model").model.document["search"]
    assert last["score"] == found["best"]["score"] <= first["score"]
    assert last["study"] == first["study"]
    code, out, err = run(*words[:-3], tmp_path / "other", *words[-2:], "--trials", 1)
    assert code == 0
    assert "the best model: trial 3" in err or f"the best of the study, trial {last['trial']} with" in err


def test_tune__rejects_scores_that_cannot_be_compared(run, table, tmp_path) -> None:
    words = ("--output", tmp_path / "model", "--storage", tmp_path / "study.db", "--trials", 1, "--quiet")
    assert run("forecast", table, *TINY, *words)[0] == 0
    longer = tmp_path / "table.csv"
    longer.write_text(table.read_text() + "2024-01-06 00:00:00,0.5\n")
    for data, options in ((table, (*TINY, "--season", "24")), (longer, TINY)):
        code, out, err = run("forecast", data, *options, *words)
        assert (code, out) == (1, "")
        assert "give another --study" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 1, "a search needs an end: give --time-limit or --trials"),
        (("--trials", "0"), 1, "--trials must be a whole number of at least 1"),
        (("--time-limit", "0"), 1, "--time-limit must be a number of minutes above 0"),
        (("--trials", "1", "--dropout", "2"), 1, "dropout must be a number from 0 to below 1"),
        (("--trials", "1", "--dropout", "0.1", "--learning-rate", "0.1"), 1, "nothing to search"),
        (("--trials", "1", "--target", "x"), 1, "'x'"),
        (("--trials", "1", "--no-such"), 2, "--no-such"),
    ],
)
def test_tune__rejects_bad_usage(run, table, tmp_path, words, code, message) -> None:
    found, out, err = run("forecast", table, *TINY, "--output", tmp_path / "model", *words)
    assert (found, out) == (code, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_tune__rejects_bad_data_and_places(run, table, tmp_path) -> None:
    code, _, err = run("forecast", tmp_path / "none.csv", *TINY, "--trials", 1, "--output", tmp_path / "model")
    assert code == 1
    assert "there is no file" in err
    code, _, err = run("forecast", table, *TINY, "--trials", 1, "--output", tmp_path / "no" / "model")
    assert code == 1
    assert "does not exist" in err
    assert run("fly", table)[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_tune__rejects_a_damaged_output_by_replacing_it(run, table, tmp_path) -> None:
    (tmp_path / "model").write_text("no model")
    assert run("forecast", table, *TINY, "--trials", 1, "--output", tmp_path / "model", "--quiet")[0] == 0
    assert "search" in Forecaster.load(tmp_path / "model").model.document


def test_interrupted_tune__preserves_the_best_model(table, tmp_path) -> None:
    words = ("--horizon", "6", "--hidden-size", "8", "--batch-size", "16", "--max-steps", "100", "--trials", "500")
    process = subprocess.Popen(
        [*COMMAND, str(table), *words, "--output", str(tmp_path / "model")],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        for line in process.stderr:
            if line.startswith("trial 1:"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "the best model so far: trial" in err
    assert err.endswith("lstmkit: interrupted\n")
    assert out.startswith("trial")
    assert Forecaster.load(tmp_path / "model").model.document["search"]["trial"] in (0, 1)


@pytest.mark.parametrize("task", TASKS)
def test_search__offers_options_of_fit_and_their_defaults(task) -> None:
    assert task in VERBS
    room = import_module(f"lstmkit.tasks.{TASKS[task]}.search")
    parameters = inspect.signature(import_module(f"lstmkit.cli.{task}").fit).parameters
    for name, values in room.SEARCH.items():
        default = parameters[name].default
        within = default in values.values if isinstance(values, Choice) else values.low <= default <= values.high
        assert within, name
    assert getattr(room, "WITHOUT", {}).keys() <= parameters.keys()
    assert main(["tune", task, "--help"]) == 0
