"""``lstmkit forecast``: happy paths, outputs, silence, and one clear sentence for every bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lstmkit.cli import main

pytest.importorskip("typer", reason="the command needs the extra forecast")

TINY = ["--max-steps", "3", "--classical", "0"]
COMMAND = [sys.executable, "-c", "import sys; from lstmkit.cli import main; sys.exit(main())", "forecast"]


def table(rows: int = 130, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frames = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=length, freq="h"),
                "y": (level + np.sin(np.arange(length) * 2 * np.pi / 24) + random.normal(0, 0.2, length)).round(4),
            }
        )
        for name, length, level in (("north", rows, 5.0), ("south", rows - 41, 700.0))
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table and the model that the command line has trained on it."""
    folder = tmp_path_factory.mktemp("forecast")
    table().to_csv(folder / "t.csv", index=False)
    assert main(["forecast", "fit", str(folder / "t.csv"), "--horizon", "6", "-o", str(folder / "m"), "-q", *TINY]) == 0
    return folder


@pytest.fixture
def run(capsys):
    """Run one command in this process: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["forecast", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def in_process_of_its_own(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command where the working directory and the home are one empty folder."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))}
    paths = os.pathsep.join(str(Path(path or ".").absolute()) for path in sys.path)
    own |= {"HOME": str(home), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run([*COMMAND, *map(str, words)], cwd=home, env=own, text=True, capture_output=True)


def test_fit__prints_scores_and_says_where_the_model_is(run, folder, tmp_path):
    words = ["--horizon", 6, "--output", tmp_path / "m", "--seed", 4, "--time-limit", 5, "--max-steps", 3]
    code, out, err = run("fit", folder / "t.csv", *words, "--classical", 1)
    assert code == 0
    for word in ("horizon 6, season 24", "lstm", "persistence", "seasonal_naive", "auto_ets", "MASE", "kill over"):
        assert word in out
    assert f"saved {tmp_path / 'm'}" in err
    assert "training: step" in err
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_fit__never_learns_from_valid(run, folder, tmp_path):
    whole = table()
    last = whole.groupby("unique_id").cumcount(ascending=False) < 12
    whole[~last].to_csv(tmp_path / "train.csv", index=False)
    models = []
    for factor in (1, -3):
        whole[last].assign(y=whole["y"] * factor).to_csv(tmp_path / "valid.csv", index=False)
        words = ["--horizon", 6, "-o", tmp_path / "m", "--valid", tmp_path / "valid.csv", "--max-steps", 1]
        assert run("fit", tmp_path / "train.csv", *words, "--classical", 0)[0] == 0
        code, out, _ = run("predict", tmp_path / "m", tmp_path / "train.csv", "-o", tmp_path / "f.json")
        models.append([row["lstm"] for row in json.loads((tmp_path / "f.json").read_text())])
        assert (code, out) == (0, "")
    # The calibration moves the intervals alone; the centre feels no more than its rounding.
    np.testing.assert_allclose(*models, rtol=1e-5)


def test_fit__joins_several_files(run, tmp_path):
    whole = table()
    early = whole["ds"] < "2024-01-03"
    whole[early].to_csv(tmp_path / "a.csv", index=False)
    whole[~early].to_parquet(tmp_path / "b.parquet")
    whole.to_csv(tmp_path / "all.csv", index=False)
    for name, files in (("one", ["all.csv"]), ("two", ["a.csv", "b.parquet"])):
        paths = [tmp_path / file for file in files]
        assert run("fit", *paths, "--horizon", 6, "-o", tmp_path / name, *TINY)[0] == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_predict__prints_a_table(run, folder):
    code, out, err = run("predict", folder / "m", folder / "t.csv", "--steps", 2, "--level", 80)
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 5)
    assert lines[0].split() == ["unique_id", "ds", "lstm", "lstm-lo-80", "lstm-hi-80"]
    assert lines[1].split()[:3] == ["north", "2024-01-06", "10:00:00"]
    assert len({len(line) for line in lines}) == 1, "columns stand under each other"


def test_predict__never_prints_thousands_of_rows(run, folder, tmp_path):
    many = pd.concat([table(60).assign(unique_id=f"s{k}").iloc[:60] for k in range(15)])
    many.to_csv(tmp_path / "many.csv", index=False)
    _, out, _ = run("predict", folder / "m", tmp_path / "many.csv")
    assert len(out.splitlines()) == 62
    assert "30 more rows" in out.splitlines()[-1]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".json", ".parquet", ".txt", ".png", ".svg"])
def test_predict__writes_what_it_would_print(run, folder, tmp_path, ending):
    path = tmp_path / f"f{ending}"
    code, out, err = run("predict", folder / "m", folder / "t.csv", "--output", path)
    assert (code, out, err) == (0, "", f"wrote 12 rows of forecast to {path}\n")
    assert list(tmp_path.iterdir()) == [path]
    readers = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}
    readers[".tsv"] = lambda file: pd.read_csv(file, sep="\t")
    if ending in readers:
        found = readers[ending](path)
        assert list(found)[:3] == ["unique_id", "ds", "lstm"]
        assert pd.to_datetime(found["ds"]).iloc[0] == pd.Timestamp("2024-01-06 10:00")
        assert len(found) == 12
    elif ending == ".txt":
        assert path.read_text() == run("predict", folder / "m", folder / "t.csv")[1]
    else:
        assert path.read_bytes().startswith(b"\x89PNG" if ending == ".png" else b"<?xml")
        assert path.stat().st_size > 5000


def test_evaluate__prints_exactly_one_json_object(run, folder):
    code, out, err = run("evaluate", folder / "m", folder / "t.csv", "--json", "--classical", 0)
    assert (code, err, len(out.splitlines())) == (0, "", 1)
    found = json.loads(out)
    assert {"mae", "rmse", "mse", "mase", "smape", "wql", "coverage_80", "skill_over_persistence"} <= set(found)
    assert (found["horizon"], found["series"], found["trained_on"]) == (6, 2, True)


def test_evaluate__prints_a_table(run, folder):
    code, out, err = run("evaluate", folder / "m", folder / "t.csv", "--classical", 1)
    assert (code, err) == (0, "")
    assert "trained on these rows" in out
    rows = [line for line in out.splitlines() if re.match(r"  (lstm|persistence|seasonal_naive|auto_ets) ", line)]
    assert len(rows) == 5
    assert len({len(line) for line in rows}) == 1


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet", ".txt", ".png"])
def test_evaluate__writes_scores(run, folder, tmp_path, ending):
    path = tmp_path / f"e{ending}"
    code, out, _ = run("evaluate", folder / "m", folder / "t.csv", "--classical", 0, "-o", path, "--json")
    assert code == 0
    mae = json.loads(out)["mae"]
    if ending == ".json":
        assert json.loads(path.read_text()) == json.loads(out)
    elif ending == ".txt":
        assert "persistence" in path.read_text()
    elif ending == ".png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        found = (pd.read_csv if ending == ".csv" else pd.read_parquet)(path)
        assert found["method"].tolist() == ["lstm", "persistence", "seasonal_naive"]
        assert found["mae"].iloc[0] == pytest.approx(mae)


def test_process__never_writes_what_was_not_asked_for(folder, tmp_path):
    """Empty home and working directory; quiet prints nothing; predicting loads neither torch nor its like."""
    words = ["--horizon", 6, "-o", tmp_path / "m", "--quiet", "--max-steps", 2, "--classical", 1]
    fitted = in_process_of_its_own(tmp_path, "fit", folder / "t.csv", *words)
    assert (fitted.returncode, fitted.stdout, fitted.stderr) == (0, "", "")
    drawn = in_process_of_its_own(tmp_path, "predict", tmp_path / "m", folder / "t.csv", "-o", tmp_path / "f.png")
    assert (drawn.returncode, drawn.stdout) == (0, "")
    assert drawn.stderr == f"wrote 12 rows of forecast to {tmp_path / 'f.png'}\n"
    assert list((tmp_path / "home").rglob("*")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "m", "f.png"}


def test_predict__never_loads_torch(folder):
    code = (
        "import sys; from lstmkit.cli import main; code = main(sys.argv[1:]);"
        "slow = {'torch', 'accelerate', 'statsforecast', 'matplotlib', 'numba', 'sklearn', 'scipy'} & set(sys.modules);"
        "print(sorted(slow), file=sys.stderr); sys.exit(code)"
    )
    words = ["forecast", "predict", str(folder / "m"), str(folder / "t.csv")]
    found = subprocess.run([sys.executable, "-c", code, *words], text=True, capture_output=True)
    assert (found.returncode, found.stderr) == (0, "[]\n")


# Bad input: what is wrong with the table -> words of the sentence.
def _edit(**columns):
    return lambda frame: frame.assign(**columns)


def _put(row: int, column: str, value: object):
    def edit(frame):
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return edit


BAD_TABLES = {
    "misspelt column": (lambda frame: frame.rename(columns={"ds": "dss"}), "no column 'ds'; did you mean 'dss'?"),
    "missing column": (lambda frame: frame.drop(columns="y"), "no column 'y'"),
    "text for a number": (_put(16, "y", "many"), "row 17 has the text 'many'"),
    "text for a time": (_put(9, "ds", "noon"), "row 10"),
    "infinity": (_put(3, "y", "inf"), "infinite in row 4"),
    "duplicate time": (lambda frame: pd.concat([frame, frame.iloc[[5]]]), "twice, in rows 6 and 220"),
    "irregular times": (_put(7, "ds", "2024-01-01 06:50:00"), "irregular"),
    "all missing": (lambda frame: frame.assign(y=frame["y"].where(frame["unique_id"] == "north")), "'south'"),
    "no rows": (lambda frame: frame.head(0), "no rows"),
    "short series": (lambda frame: frame.head(6), "needs at least 7"),
    "one row": (lambda frame: frame.head(1), "frequency"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_fit__rejects_in_one_sentence(run, tmp_path, case):
    edit, words = BAD_TABLES[case]
    edit(table()).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "m").write_text("an older model")
    code, out, err = run("fit", tmp_path / "t.csv", "--horizon", 6, "-o", tmp_path / "m", *TINY)
    assert (code, out) == (1, "")
    assert words in err
    assert_one_sentence(err)
    assert (tmp_path / "m").read_text() == "an older model"


def assert_one_sentence(err: str) -> None:
    assert err.startswith("lstmkit: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not re.search(r"\w_column=|frequency=|known=", err), "the command line has options, not arguments"


def test_unsorted_table__equals_the_sorted_one(run, folder, tmp_path):
    table().sample(frac=1, random_state=1).sort_values("unique_id", kind="stable").to_csv(
        tmp_path / "t.csv", index=False
    )
    assert run("fit", tmp_path / "t.csv", "--horizon", 6, "-o", tmp_path / "m", *TINY)[0] == 0
    sorted_, unsorted = (run("predict", model, folder / "t.csv")[1] for model in (folder / "m", tmp_path / "m"))
    assert sorted_ == unsorted


def test_constant_series__are_forecast_as_constant(run, tmp_path):
    table().assign(y=7.25).to_csv(tmp_path / "t.csv", index=False)
    code, out, _ = run("fit", tmp_path / "t.csv", "--horizon", 6, "-o", tmp_path / "m", *TINY)
    assert code == 0
    assert "No skill" in out
    run("predict", tmp_path / "m", tmp_path / "t.csv", "-o", tmp_path / "f.csv")
    np.testing.assert_allclose(pd.read_csv(tmp_path / "f.csv")["lstm"], 7.25, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--horizon", 0], "horizon must be"),
        (["--horizon", 6, "--frequency", "hourly"], "did you mean 'h'"),
        (["--horizon", 6, "--known", "promo"], "no column 'promo'"),
        (["--horizon", 6, "--returns", "--target", "change"], "prices above 0"),
        (["--horizon", 6, "--season", 0], "season must be"),
        (["--horizon", 6, "--seed", -1], "seed"),
        (["--horizon", 6, "--time-limit", 0], "time_limit"),
        (["--horizon", 6, "--id", "station"], "no column 'station'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_fit__rejects_options_in_one_sentence(run, tmp_path, options, words):
    table().assign(change=lambda frame: frame["y"].diff().fillna(0)).to_csv(tmp_path / "t.csv", index=False)
    code, out, err = run("fit", tmp_path / "t.csv", "-o", tmp_path / "m", *options, *TINY)
    assert (code, out) == (1, "")
    assert words in err
    assert_one_sentence(err)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "t.csv", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "t.csv", "a PNG image"),
        (b"PAR1 and no more", "t.parquet", "t.parquet"),
        (b"a,b\n1,2\n", "t.xls", "does not end in"),
        (b"unique_id,ds,y\na,2024-01-01,1\na,2024\n", "t.csv", "t.csv"),
    ],
    ids=["empty", "image", "truncated parquet", "unknown ending", "torn row"],
)
def test_predict__rejects_files_that_are_no_tables(run, folder, tmp_path, content, name, words):
    (tmp_path / name).write_bytes(content)
    code, out, err = run("predict", folder / "m", tmp_path / name)
    assert (code, out) == (1, "")
    assert words in err
    assert_one_sentence(err)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda whole: whole[: len(whole) // 2], "truncated"),
        (lambda whole: b"", "is empty"),
        (lambda whole: (2**40).to_bytes(8, "little") + whole[8:], "not a model file"),
        (lambda whole: whole.replace(b'format_version\\":1', b'format_version\\":9'), "format version 9"),
        (lambda whole: whole.replace(b'task\\":\\"forecast', b'task\\":\\"foretell'), "foretell"),
        (lambda whole: whole.replace(b"F32", b"F16", 1), "damaged"),
    ],
    ids=["truncated", "empty", "huge header", "newer", "another task", "wrong types"],
)
def test_predict__rejects_model_files(run, folder, tmp_path, spoil, words):
    whole = (folder / "m").read_bytes()
    assert spoil(whole) != whole
    (tmp_path / "m").write_bytes(spoil(whole))
    code, out, err = run("predict", tmp_path / "m", folder / "t.csv")
    assert (code, out) == (1, "")
    assert words in err
    assert_one_sentence(err)


def test_predict__rejects_missing_covariates(run, tmp_path):
    known = table().assign(promo=lambda frame: np.arange(len(frame)) % 3)
    known.to_csv(tmp_path / "t.csv", index=False)
    fit = run("fit", tmp_path / "t.csv", "--horizon", 3, "--known", "promo", "-o", tmp_path / "m", *TINY)
    assert fit[0] == 0
    code, _, err = run("predict", tmp_path / "m", tmp_path / "t.csv")
    assert code == 1
    assert "'promo' is missing for series 'north' at 2024-01-06T10:00:00" in err
    assert_one_sentence(err)
    ahead = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range(end, periods=4, freq="h")[1:], "promo": [0, 1, 2]})
        for name, end in known.groupby("unique_id")["ds"].max().items()
    ]
    pd.concat(ahead).to_csv(tmp_path / "future.csv", index=False)
    assert run("predict", tmp_path / "m", tmp_path / "t.csv", "--future", tmp_path / "future.csv")[0] == 0


def test_predict__rejects_outputs_of_unknown_kind(run, folder, tmp_path):
    code, out, err = run("predict", folder / "m", folder / "t.csv", "-o", tmp_path / "f.docx")
    assert (code, out) == (1, "")
    assert ".docx" in err
    assert_one_sentence(err)


@pytest.mark.parametrize(
    "words",
    [
        ["fit"],
        ["fit", "t.csv", "--horizon", "6"],
        ["predict", "m"],
        ["evaluate", "m", "t", "--wrong"],
        ["fit", "t", "--horizon", "six", "-o", "m"],
    ],
    ids=" ".join,
)
def test_usage_errors__exit_with_2(run, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "Usage" in err


def test_fit__rejects_places_it_cannot_write_to_before_training(run, folder, tmp_path):
    for output, words in ((tmp_path / "no" / "m", "does not exist"), (tmp_path, "is a folder"), ("/proc/m", "cannot")):
        code, out, err = run("fit", folder / "t.csv", "--horizon", 6, "-o", output, *TINY)
        assert (code, out) == (1, "")
        assert words in err
        assert_one_sentence(err)


def test_full_disk__leaves_the_old_files_whole(folder, tmp_path):
    """A limit on the size of files stands for the disk that is full."""
    code = (
        "import resource, sys; from lstmkit.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); sys.exit(main(sys.argv[1:]))"
    )
    (tmp_path / "f.svg").write_text("old")
    words = ["predict", folder / "m", folder / "t.csv", "-o", tmp_path / "f.svg"]
    found = subprocess.run([sys.executable, "-c", code, "forecast", *map(str, words)], text=True, capture_output=True)
    assert found.returncode == 1
    assert "cannot write" in found.stderr
    assert "nothing was changed" in found.stderr
    assert_one_sentence(found.stderr)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("f.svg", "old")]


def test_full_disk__leaves_the_old_model_whole(run, folder, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    (tmp_path / "m").write_text("an older model")
    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = run("fit", folder / "t.csv", "--horizon", 6, "-o", tmp_path / "m", *TINY, "-q")
    assert code == 1
    assert "no space left on device" in err
    assert_one_sentence(err)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("m", "an older model")]


def test_interrupted_fit__saves_the_best_model_so_far(run, folder, tmp_path):
    words = ["fit", folder / "t.csv", "--horizon", 6, "-o", tmp_path / "m", "--log", tmp_path / "log"]
    process = subprocess.Popen(
        [*COMMAND, *map(str, words), "--max-steps", "200000"], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    log = tmp_path / "log"
    while process.poll() is None and '"train"' not in (log.read_text() if log.exists() else ""):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-2:] == [f"saved {tmp_path / 'm'}, the best model so far", "lstmkit: interrupted"]
    assert "On the rows held back" in out
    assert "Traceback" not in err
    assert run("predict", tmp_path / "m", folder / "t.csv")[0] == 0
