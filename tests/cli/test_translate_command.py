"""``lstmkit translate``: happy paths, outputs, silence, and one clear sentence for every bad input."""

import gzip
import io
import json

import pytest

from lstmkit.cli import main

pytest.importorskip("typer", reason="the command needs the extra text")

TINY = ["--level", "word", "--max-steps", 3, "--hidden-size", 8, "--embedding-size", 8, "--quiet"]
PAIRS = [("ein Hund", "a dog"), ("eine Katze", "a cat"), ("der Hund", "the dog"), ("die Katze", "the cat")] * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with pairs, as a table and as two texts, and the model that the command line has trained on them."""
    folder = tmp_path_factory.mktemp("translate")
    (folder / "p.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    (folder / "a.de").write_text("".join(f"{source}\n" for source, _ in PAIRS))
    (folder / "b.en.gz").write_bytes(gzip.compress("".join(f"{target}\n" for _, target in PAIRS).encode()))
    (folder / "t.txt").write_text("ein Hund\n\ndie Katze\n")
    assert main([*map(str, ["translate", "fit", folder / "p.tsv", "-o", folder / "m", *TINY])]) == 0
    return folder


@pytest.fixture
def run(capsys):
    """Run one command in this process: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["translate", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_fit__prints_scores_and_says_where_the_model_is(run, folder, tmp_path) -> None:
    code, out, err = run("fit", folder / "p.tsv", "-o", tmp_path / "m", *TINY[:-1])
    assert code == 0
    for word in ("held back", "BLEU", "chrF", "perplexity", "answers with an error", "nrefs:1"):
        assert word in out
    assert f"saved {tmp_path / 'm'}" in err
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_fit__equals_itself__from_two_texts_and_quietly(run, folder, tmp_path) -> None:
    texts = ["--source", folder / "a.de", "--target", folder / "b.en.gz"]
    assert run("fit", *texts, "-o", tmp_path / "m", *TINY) == (0, "", "")
    answers = [run("predict", model, folder / "t.txt")[1] for model in (folder / "m", tmp_path / "m")]
    assert answers[0] == answers[1]


def test_fit__judges_by_valid(run, folder, tmp_path) -> None:
    table = ["--valid", folder / "p.tsv"]
    texts = ["--valid-source", folder / "a.de", "--valid-target", folder / "b.en.gz"]
    for valid in (table, texts):
        code, out, _ = run("fit", folder / "p.tsv", "-o", tmp_path / "m", *TINY[:-1], *valid)
        assert code == 0
        assert out.splitlines()[1].split() == ["pairs", str(len(PAIRS))]


def test_predict__answers_line_by_line(run, folder) -> None:
    code, out, err = run("predict", folder / "m", folder / "t.txt")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 3
    assert out.splitlines()[1] == ""


def test_predict__reads_standard_input(run, folder, monkeypatch) -> None:
    expected = run("predict", folder / "m", folder / "t.txt")[1]
    monkeypatch.setattr("sys.stdin", io.StringIO((folder / "t.txt").read_text()))
    assert run("predict", folder / "m", "-") == (0, expected, "")


def test_predict__gives_several_answers(run, folder) -> None:
    code, out, _ = run("predict", folder / "m", folder / "t.txt", "--n-best", 3)
    blocks = [block.splitlines() for block in out.rstrip("\n").split("\n\n")]
    assert code == 0
    assert [len(block) for block in blocks] == [3, 1, 3]
    scores = [float(line.split("\t")[0]) for line in blocks[0]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("ending", ["txt", "tsv", "csv", "json", "jsonl", "parquet", "png", "svg"])
def test_predict__writes_every_kind_of_file(run, folder, tmp_path, ending: str) -> None:
    if ending in ("png", "svg"):
        pytest.importorskip("matplotlib", reason="drawing needs the extra plot")
    code, out, err = run("predict", folder / "m", folder / "t.txt", "-o", tmp_path / f"o.{ending}", "--n-best", 2)
    assert (code, out) == (0, "")
    assert "wrote 3 translations" in err
    content = (tmp_path / f"o.{ending}").read_bytes()
    if ending == "json":
        rows = json.loads(content)
        assert [row["source"] for row in rows] == ["ein Hund", "ein Hund", "", "die Katze", "die Katze"]
        assert [row["rank"] for row in rows] == [1, 2, 1, 1, 2]
    assert content.startswith({"png": b"\x89PNG", "parquet": b"PAR1"}.get(ending, b""))
    assert content


def test_evaluate__prints_one_json_object(run, folder, tmp_path) -> None:
    words = ["evaluate", folder / "m", folder / "p.tsv"]
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    scores = json.loads(out)
    names = {"pairs", "bleu", "chrf", "perplexity", "signature", "word_error_rate", "phone_error_rate"}
    assert scores.keys() == names
    lower = json.loads(run(*words, "--json", "--lowercase", "--beam", 1)[1])
    assert "case:lc" in lower["signature"]
    texts = ["--source", folder / "a.de", "--target", folder / "b.en.gz"]
    assert json.loads(run("evaluate", folder / "m", *texts, "--json")[1]) == scores
    code, out, _ = run(*words, "-o", tmp_path / "o.json")
    rows = json.loads((tmp_path / "o.json").read_text())
    assert (code, len(rows), rows[0]["target"]) == (0, len(PAIRS), "a dog")
    assert "BLEU" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "-o", "{0}/x"], "give PAIRS.tsv, or both --source and --target"),
        (["fit", "{0}/p.tsv", "--source", "{0}/a.de", "-o", "{0}/x"], "give PAIRS.tsv, or both"),
        (["fit", "--source", "{0}/a.de", "-o", "{0}/x"], "give PAIRS.tsv, or both"),
        (["fit", "{0}/p.tsv", "--valid-source", "{0}/a.de", "-o", "{0}/x"], "both --valid-source and --valid-target"),
        (["fit", "{0}/q.tsv", "-o", "{0}/x"], "did you mean {0}/p.tsv"),
        (["fit", "{0}/t.txt", "-o", "{0}/x"], "line 1: expected a source and a target with a tab"),
        (["fit", "--source", "{0}/a.de", "--target", "{0}/t.txt", "-o", "{0}/x"], "has 16 lines, but {0}/t.txt has 3"),
        (["fit", "{0}/p.tsv", "-o", "{0}/none/x"], "does not exist"),
        (["fit", "{0}/p.tsv", "-o", "{0}/x", "--level", "syllable"], "--level must be one of"),
        (["fit", "{0}/p.tsv", "-o", "{0}/x", "--hidden-size", "0"], "--hidden-size must be"),
        (["fit", "{0}/p.tsv", "-o", "{0}/x", "--max-steps", "0"], "--max-steps must be"),
        (["fit", "{0}/m", "-o", "{0}/x"], "binary"),
        (["predict", "{0}/t.txt", "{0}/t.txt"], "is not a model file"),
        (["predict", "{0}/m", "{0}/none"], "is not there"),
        (["predict", "{0}/m", "{0}/t.txt", "-o", "o.doc"], "--output must end in one of"),
        (["predict", "{0}/m", "{0}/t.txt", "--beam", "0"], "--beam must be"),
        (["predict", "{0}/m", "{0}/t.txt", "--n-best", "9"], "--n-best"),
        (["predict", "{0}/m", "{0}/t.txt", "--length-penalty", "-1"], "--length-penalty must be"),
        (["evaluate", "{0}/m"], "give PAIRS.tsv, or both"),
    ],
)
def test_bad_input__ends_in_one_sentence(run, folder, words: list[str], said: str) -> None:
    code, out, err = run(*[word.format(folder) for word in words])
    assert (code, out) == (1, "")
    assert said.format(folder) in err
    assert len(err.strip().splitlines()) == 1
    assert not (folder / "x").exists()


def test_empty_sides__are_left_out_and_counted(run, tmp_path) -> None:
    (tmp_path / "p.tsv").write_text("a\tb\n\tc\nd\t\na\tb\n")
    code, _, err = run("fit", tmp_path / "p.tsv", "-o", tmp_path / "m", *TINY[:-1])
    assert code == 0
    assert "left out 2 pairs" in err


def test_picture__is_refused__where_all_lines_are_empty(run, folder, tmp_path) -> None:
    (tmp_path / "t.txt").write_text("\n\n")
    code, _, err = run("predict", folder / "m", tmp_path / "t.txt", "-o", tmp_path / "o.png")
    assert code == 1
    assert "nothing to draw" in err
