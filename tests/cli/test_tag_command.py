"""``lstmkit tag``: happy paths, outputs, silence, and one clear sentence for every bad input."""

import csv
import json
from pathlib import Path

import pytest
from helpers.tagged import as_conll, draw_sentences

from lstmkit.cli import main
from lstmkit.data import read_conll

pytest.importorskip("typer", reason="the command needs the extra text")

TINY = ["--hidden-size", "8", "--max-epochs", "2"]
SENTENCES = draw_sentences(60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sentences and the model that the command line has trained on them."""
    folder = tmp_path_factory.mktemp("tag")
    (folder / "train.conll").write_text(as_conll(SENTENCES))
    (folder / "test.conll").write_text(as_conll(draw_sentences(20, seed=1)))
    (folder / "a.txt").write_text("Kazason lives in New Rimiville.\n\nWho lives in Rome?\n")
    words = ["tag", "fit", str(folder / "train.conll"), "-o", str(folder / "m"), "-q", "--hidden-size", "24"]
    assert main([*words, "--max-epochs", "40"]) == 0
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run one command in this process: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["tag", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_fit__prints_scores_of_what_was_held_back(run, folder: Path, tmp_path: Path) -> None:
    code, out, err = run("fit", folder / "train.conll", "-o", tmp_path / "m", *TINY, "--valid", folder / "test.conll")
    assert code == 0
    assert "On sentences held back" in out
    assert "in 20 sentences" in out
    assert "accuracy of the sentences' labels" in out
    assert f"saved {tmp_path / 'm'}" in err


def test_fit__never_prints_when_quiet(run, folder: Path, tmp_path: Path) -> None:
    options = ("--no-crf", "--lowercase", "--num-layers", "2", "--seed", "5", "--time-limit", "5")
    found = run("fit", folder / "train.conll", "-o", tmp_path / "m", "-q", *TINY, *options)
    assert found == (0, "", "")


def test_evaluate__matches_json(run, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("evaluate", folder / "m", folder / "test.conll", "--json")
    scores = json.loads(out)
    assert code == 0
    assert {"accuracy", "precision", "recall", "f1", "intent_accuracy"} <= scores.keys()
    assert scores["sentences"] == 20
    code, out, _ = run("evaluate", folder / "m", folder / "test.conll", "-o", tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    assert f"{100 * scores['f1']:.1f}" in out


def test_predict__prints_what_a_person_reads(run, folder: Path) -> None:
    code, out, err = run("predict", folder / "m", folder / "a.txt")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Kazason lives in New Rimiville."
    assert "0-7  Kazason" in out
    assert "17-30  New Rimiville" in out


def test_predict__shortens_what_is_long(run, folder: Path) -> None:
    _, out, _ = run("predict", folder / "m", folder / "train.conll")
    assert out.endswith("... 40 more sentences; --output FILE.txt keeps all\n")


def test_predict_conll__roundtrips(run, folder: Path, tmp_path: Path) -> None:
    code, _, err = run("predict", folder / "m", folder / "test.conll", "-o", tmp_path / "p.conll")
    assert (code, "wrote 20 tagged sentences" in err) == (0, True)
    _, out, _ = run("evaluate", folder / "m", tmp_path / "p.conll", "--json")
    scores = json.loads(out)
    assert (scores["accuracy"], scores["f1"], scores["intent_accuracy"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["test.conll", "a.txt"])
def test_predict_conllu__roundtrips(run, folder: Path, tmp_path: Path, name: str) -> None:
    code, _, err = run("predict", folder / "m", folder / name, "-o", tmp_path / "p.conllu")
    count = {"test.conll": 20, "a.txt": 2}[name]
    assert (code, f"wrote {count} tagged sentences" in err) == (0, True)
    _, out, _ = run("evaluate", folder / "m", tmp_path / "p.conllu", "--json")
    scores = json.loads(out)
    assert (scores["accuracy"], scores["intent_accuracy"], scores["sentences"]) == (1.0, 1.0, count)
    found = [*read_conll(tmp_path / "p.conllu")]
    run("predict", folder / "m", folder / name, "-o", tmp_path / "p.conll")
    assert [(one.words, one.tags, one.label) for one in found] == [
        (one.words, one.tags, one.label) for one in read_conll(tmp_path / "p.conll")
    ]


def test_predict_rows__match_objects(run, folder: Path, tmp_path: Path) -> None:
    for ending in ("json", "jsonl", "csv", "tsv", "parquet", "txt"):
        assert run("predict", folder / "m", folder / "a.txt", "-o", tmp_path / f"p.{ending}")[0] == 0
    objects = json.loads((tmp_path / "p.json").read_text())
    assert [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()] == objects
    assert [one["sentence"] for one in objects] == [1, 2, 3]
    assert objects[0]["entities"][-1] == {"start": 17, "end": 30, "label": "place", "text": "New Rimiville"}
    with (tmp_path / "p.csv").open(newline="") as stream:
        rows = [*csv.DictReader(stream)]
    expected = [(str(one["sentence"]), e["text"], one["intent"]) for one in objects for e in one["entities"]]
    assert [(row["sentence"], row["text"], row["intent"]) for row in rows if row["text"]] == expected
    assert rows[0].keys() == {"sentence", "start", "end", "label", "text", "intent"}


def test_parts_of_speech__print_beside_words(run, tmp_path: Path) -> None:
    rows = [f"{k}\t{w}\t_\t{t}\t_\t_\t_\t_\t_\t_" for k, (w, t) in enumerate((("a", "DET"), ("b", "NOUN")), 1)]
    (tmp_path / "a.conllu").write_text(("\n".join(rows) + "\n\n") * 30)
    assert run("fit", tmp_path / "a.conllu", "--column", "upos", "-o", tmp_path / "m", "-q", *TINY)[0] == 0
    _, out, _ = run("predict", tmp_path / "m", tmp_path / "a.conllu")
    assert out.splitlines()[0].split("/")[0] == "a"
    assert run("predict", tmp_path / "m", tmp_path / "a.conllu", "-o", tmp_path / "p.csv")[0] == 0
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "sentence,start,end,label,text"
    assert len(lines) == 61
    assert run("predict", tmp_path / "m", tmp_path / "a.conllu", "-o", tmp_path / "p.conllu")[0] == 0
    _, out, _ = run("evaluate", tmp_path / "m", tmp_path / "p.conllu", "--json")
    assert json.loads(out)["accuracy"] == 1.0
    rest = [line.split("\t") for line in (tmp_path / "p.conllu").read_text().splitlines()]
    given = [line.split("\t") for line in (tmp_path / "a.conllu").read_text().splitlines()]
    assert [fields[:3] + fields[4:] for fields in rest] == [fields[:3] + fields[4:] for fields in given]
    _, out, _ = run("evaluate", tmp_path / "m", tmp_path / "a.conllu", "--json")
    assert "f1" not in json.loads(out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "ragged.conll", "-o", "x"], "ragged.conll, line 3: 1 column, where line 1 has 2"),
        (["fit", "empty.conll", "-o", "x"], "is empty"),
        (["fit", "binary.conll", "-o", "x"], "binary file"),
        (["fit", "latin.conll", "-o", "x"], "say so with --encoding"),
        (["fit", "missing.conll", "-o", "x"], "is not there"),
        (["fit", "train.conll", "-o", "."], "is a folder"),
        (["fit", "train.conll", "-o", "x", "--column", "upsos"], "--column 'upsos' is no column"),
        (["fit", "train.conll", "-o", "x", "--column", "7"], "--column 7 is beyond the 2 columns"),
        (["fit", "train.conll", "-o", "x", "--encoding", "utf-99"], "there is no encoding 'utf-99'"),
        (["fit", "train.conll", "-o", "x", "--language-modelling", "-1"], "must be a number of at least 0, not -1.0"),
        (["predict", "train.conll", "a.txt"], "is not a model file"),
        (["predict", "m", "empty.conll"], "is empty"),
        (["predict", "m", "a.txt", "-o", "x.png"], "--output must end in one of"),
        (["evaluate", "m", "ragged.conll"], "line 3"),
        (["evaluate", "m", "words.conll"], "has one column, the words"),
    ],
)
def test_bad_input__rejects(run, folder: Path, monkeypatch, words: list[str], message: str) -> None:
    monkeypatch.chdir(folder)
    (folder / "ragged.conll").write_text("a O\n\nb\n")
    (folder / "words.conll").write_text("a\nb\n")
    (folder / "empty.conll").write_text("")
    (folder / "binary.conll").write_bytes(b"\x00\x01")
    (folder / "latin.conll").write_bytes("é O\n".encode("latin-1"))
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith("lstmkit: ")
    assert len(err.splitlines()) == 1
    assert message in err
    assert not (folder / "x").exists()


def test_other_encoding__matches_utf8(run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Zoé lives\n".encode("latin-1"))
    (tmp_path / "utf8.txt").write_text("Zoé lives\n", encoding="utf-8")
    one = run("predict", folder / "m", tmp_path / "latin.txt", "--encoding", "latin-1")
    assert one == run("predict", folder / "m", tmp_path / "utf8.txt")
