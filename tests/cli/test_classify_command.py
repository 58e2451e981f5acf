"""``lstmkit classify``: happy paths, results as files, and one clear sentence for every bad input."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lstmkit.cli import main

pytest.importorskip("typer", reason="the command needs the extra text")

TINY = ["--max-epochs", "1", "--members", "2", "--hidden-size", "6", "--quiet"]
ROWS = [("what a warm, kind day", "good"), ("a cold meal", "bad"), ("so warm", "good"), ("cruel and cold", "bad")] * 6
Run = Callable[..., tuple[int, str, str]]

TS = "@problemName toy\n@classLabel true up down\n@data\n" + "".join(
    ",".join(f"{sign * step + k % 3}" for step in range(9 + k % 4)) + f":{label}\n"
    for k in range(8)
    for sign, label in ((1, "up"), (-1, "down"))
)


def write_table(path: Path, rows: list[tuple[str, str]], names: tuple[str, str] = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([names, *rows])
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a file of series, and the models of both."""
    folder = tmp_path_factory.mktemp("classify")
    write_table(folder / "t.csv", ROWS)
    (folder / "s.ts").write_text(TS)
    for data, model in (("t.csv", "m"), ("s.ts", "ms")):
        assert main(["classify", "fit", str(folder / data), "-o", str(folder / model), *TINY]) == 0
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command in this process: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["classify", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_fit__prints_scores_and_says_where_the_model_is(run: Run, folder: Path, tmp_path: Path) -> None:
    code, out, err = run("fit", folder / "t.csv", "-o", tmp_path / "m", *TINY[:-1], "--class-weights", "balanced")
    assert code == 0
    assert "On examples held back in training (24): accuracy" in out
    assert f"saved {tmp_path / 'm'}" in err


def test_predict__prints_label_probability_and_text(run: Run, folder: Path) -> None:
    code, out, err = run("predict", folder / "m", folder / "t.csv")
    lines = [line.split("\t") for line in out.splitlines()]
    assert (code, err, len(lines)) == (0, "", 24)
    assert [line[2] for line in lines[:2]] == [text for text, _ in ROWS[:2]]
    assert {line[0] for line in lines} <= {"good", "bad"}
    assert all(0.5 <= float(line[1]) <= 1 for line in lines)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt"])
def test_predict__writes_what_it_would_print(run: Run, folder: Path, tmp_path: Path, ending: str) -> None:
    (tmp_path / "in.txt").write_text("warm\n\nzażółć 🙂\n" + "cold " * 500 + "\n")
    path = tmp_path / f"p{ending}"
    code, out, err = run("predict", folder / "m", tmp_path / "in.txt", "-o", path)
    assert (code, out, err) == (0, "", f"wrote 4 labels to {path}\n")
    if ending == ".txt":
        assert set(path.read_text().split()) <= {"good", "bad"}
        assert len(path.read_text().splitlines()) == 4
        return
    if ending == ".parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    elif ending in (".csv", ".tsv"):
        rows = list(
            csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t" if ending == ".tsv" else ",")
        )
    else:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if ending == ".json" else [json.loads(line) for line in text.splitlines()]
    assert [row["text"] for row in rows][1:3] == ["", "zażółć 🙂"]
    for row in rows:
        assert float(row["p_good"]) + float(row["p_bad"]) == pytest.approx(1, abs=2e-6)
        assert float(row["probability"]) == max(float(row["p_good"]), float(row["p_bad"]))


def test_explain__shows_the_words(run: Run, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("predict", folder / "m", folder / "t.csv", "--explain", "--of", "good")
    assert code == 0
    assert "what a warm, kind day\ngood" in out
    assert "... 14 more" in out
    assert any("cold" in line and "- █" in line for line in out.splitlines())
    code, _, err = run("predict", folder / "m", folder / "t.csv", "--explain", "-o", tmp_path / "e.html")
    assert (code, err) == (0, f"wrote 24 explanations to {tmp_path / 'e.html'}\n")
    assert (tmp_path / "e.html").read_text().count("<p><b>") == 24


def test_series__from_ts_and_from_a_table(run: Run, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("predict", folder / "ms", folder / "s.ts")
    assert code == 0
    assert out.splitlines()[0].split("\t")[2] == "line 4"
    code, out, _ = run("predict", folder / "ms", folder / "s.ts", "--explain")
    assert (code, "step 1" in out) == (0, True)
    rows = ["who,when,x,what"]
    rows += [f"{k},{step},{(-1) ** k * step},{'ud'[k % 2]}" for k in range(16) for step in range(8)]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    words = ["--id", "who", "--time", "when", "--label", "what", "-o", tmp_path / "m", *TINY]
    assert run("fit", tmp_path / "t.csv", *words)[0] == 0
    code, out, _ = run("evaluate", tmp_path / "m", tmp_path / "t.csv", "--json")
    assert (code, json.loads(out)["examples"]) == (0, 16)
    assert run("predict", tmp_path / "m", tmp_path / "t.csv")[1].split("\n")[0].split("\t")[2] == "0"


def test_evaluate__prints_exactly_one_json_object(run: Run, folder: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", [*ROWS, ("so so", "middling")])
    code, out, err = run("evaluate", folder / "m", tmp_path / "t.csv", "--json")
    assert (code, err, len(out.splitlines())) == (0, "", 1)
    found = json.loads(out)
    assert {"accuracy", "macro_f1", "log_loss", "expected_calibration_error", "classes"} <= set(found)
    assert found["unseen_labels"] == {"middling": 1}
    code, out, _ = run("evaluate", folder / "m", tmp_path / "t.csv")
    assert "never seen in training, each an error: 'middling' (1)" in out


@pytest.mark.parametrize("ending", [".json", ".txt", ".csv", ".png"])
def test_evaluate__writes_scores(run: Run, folder: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"e{ending}"
    code, out, err = run("evaluate", folder / "m", folder / "t.csv", "-o", path)
    assert (code, err) == (0, f"wrote {path}\n")
    if ending == ".json":
        assert set(json.loads(path.read_text())["classes"]) == {"good", "bad"}
    elif ending == ".csv":
        assert [row["label"] for row in csv.DictReader(path.read_text().splitlines())] == ["bad", "good"]
    elif ending == ".txt":
        assert path.read_text() == out
    else:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_predict__never_loads_torch(folder: Path) -> None:
    code = (
        "import sys; from lstmkit.cli import main; code = main(sys.argv[1:]);"
        "slow = {'torch', 'accelerate', 'matplotlib', 'pandas'} & set(sys.modules);"
        "print(sorted(slow), file=sys.stderr); sys.exit(code)"
    )
    for model, data in (("m", "t.csv"), ("ms", "s.ts")):
        words = ["classify", "predict", str(folder / model), str(folder / data)]
        found = subprocess.run([sys.executable, "-c", code, *words], text=True, capture_output=True)
        assert (found.returncode, found.stderr) == (0, "[]\n")


def latin(path: Path) -> None:
    path.write_bytes("text,label\ncafé,a\nthé,b\n".encode("latin-1"))


BAD_FILES: dict[str, tuple[bytes | Callable[[Path], None], str]] = {
    "empty": (b"", "is empty"),
    "binary": (b"\x00\x01\x02text,label", "is a binary file"),
    "wrong encoding": (latin, "say so with --encoding"),
    "no rows": (b"text,label\n", "has a header but no rows"),
    "misspelt column": (b"texts,label\na,b\nc,d\n", "no column 'text'; did you mean 'texts'?"),
    "no label column": (b"text,class\na,b\nc,d\n", "no column 'label'"),
    "one label": (b"text,label\na,x\nc,x\n", "every example has the label 'x'"),
    "empty label": (b"text,label\na,x\nc,\n", "example 2 has an empty label"),
    "ragged row": (b"text,label\na,x\nc,y,z\n", "line 3: 3 cells"),
    "texts without tokens": (b"text,label\n ,x\n ,y\n", "no token"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_fit__rejects_in_one_sentence(run: Run, tmp_path: Path, case: str) -> None:
    content, words = BAD_FILES[case]
    path = tmp_path / "t.csv"
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    (tmp_path / "m").write_text("an older model")
    code, out, err = run("fit", path, "-o", tmp_path / "m", *TINY)
    assert (code, out) == (1, "")
    assert words in err
    assert err.startswith("lstmkit: ")
    assert err.count("\n") == 1
    assert (tmp_path / "m").read_text() == "an older model"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "{t}", "-o", "{no}/m"], "does not exist"),
        (["fit", "{t}", "-o", "{m}2", "--level", "letter"], "--level must be one of"),
        (["fit", "{t}", "-o", "{m}2", "--class-weights", "equal"], "--class-weights must be 'balanced'"),
        (["fit", "{t}", "-o", "{m}2", "--encoding", "klingon"], "no encoding 'klingon'"),
        (["fit", "{t}", "-o", "{m}2", "--valid", "{s}"], "validation data are series"),
        (["fit", "{t}", "-o", "{m}2", "--id", "who"], "no column 'who'"),
        (["predict", "{m}", "{s}"], "classifies texts, but the data are series"),
        (["predict", "{ms}", "{t}"], "classifies series, but the data are text"),
        (["predict", "{m}", "{t}", "-o", "x.docx"], "--output must end in"),
        (["predict", "{m}", "{t}", "--explain", "--of", "ugly"], "'ugly' is not known; known: "),
        (["predict", "{t}", "{t}"], "not a model file"),
        (["evaluate", "{m}", "{t}", "--label", "class"], "no column 'class'"),
    ],
)
def test_command__rejects(run: Run, folder: Path, words: list[str], message: str) -> None:
    names = {"t": folder / "t.csv", "s": folder / "s.ts", "m": folder / "m", "ms": folder / "ms", "no": folder / "no"}
    code, out, err = run(*(word.format(**names) for word in words))
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_encoding__roundtrips(run: Run, tmp_path: Path) -> None:
    rows = [("café crème", "a"), ("thé vert", "b")] * 8
    (tmp_path / "t.tsv").write_bytes("\n".join(["text\tlabel", *map("\t".join, rows)]).encode("latin-1"))
    assert run("fit", tmp_path / "t.tsv", "-o", tmp_path / "m", "--encoding", "latin-1", *TINY)[0] == 0
    (tmp_path / "u.txt").write_text("café crème\nthé vert\n", encoding="utf-8")
    code, out, _ = run("predict", tmp_path / "m", tmp_path / "u.txt", "--encoding", "utf-8")
    assert (code, [line[0] for line in out.splitlines()]) == (0, ["a", "b"])
    assert np.all([float(line.split("\t")[1]) > 0.5 for line in out.splitlines()])
