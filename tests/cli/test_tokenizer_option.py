"""``--level tokenizer.json``, with every verb that cuts texts into tokens."""

import csv
import json
from pathlib import Path

import pytest
from helpers.foreign import TEXTS, bert, gpt2

from lstmkit.cli import main
from lstmkit.runtime import load

TINY = {
    "classify": ("table.csv", "--max-epochs", 1, "--members", 1, "--hidden-size", 4),
    "lm": ("text.txt", "--max-steps", 2, "--hidden-size", 4, "--embedding-size", 4, "--layers", 1),
    "translate": ("pairs.tsv", "--max-steps", 2, "--hidden-size", 4, "--embedding-size", 4),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run one command in a folder with data and tokenizers: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    gpt2().save("gpt2.json")
    bert().save("bert.json")
    Path("text.txt").write_text("\n".join(TEXTS))
    Path("pairs.tsv").write_text("".join(f"{text}\t{text}\n" for text in TEXTS))
    with Path("table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(TEXTS, ["a", "b"] * 10, strict=True)])

    def run(*words: object) -> tuple[int, str, str]:
        code = main([*map(str, words)])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("verb", TINY)
def test_fit__takes_a_tokenizer(run, verb: str) -> None:
    assert run(verb, "fit", *TINY[verb], "--level", "gpt2.json", "-o", "m", "-q") == (0, "", "")
    document = json.dumps(load("m").document)
    assert "<|endoftext|>" in document
    Path("gpt2.json").unlink()
    data = ("text.txt",) if verb != "lm" else ("--prompt", "the", "-n", 5)
    assert run(verb, "predict", "m", *data)[0] == 0
    code, out, _ = run(verb, "evaluate", "m", TINY[verb][0], "--json")
    assert code == 0
    assert json.loads(out)


def test_translate__takes_one_for_each_side(run) -> None:
    levels = ("--source-level", "bert.json", "--target-level", "gpt2.json")
    code, out, err = run("translate", "fit", *TINY["translate"], *levels, "-o", "m")
    assert code == 0
    assert "BLEU" in out
    assert "level of the sources: bert.json; of the targets: gpt2.json" in err
    assert len(load("m").document["tokenizers"]) == 2


@pytest.mark.parametrize("verb", TINY)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--level", "none.json"), "cannot read none.json: No such file or directory"),
        (("--level", "vocab.json"), "vocab.json is no tokenizer; give the tokenizer.json that"),
        (("--level", "syllable"), "--level must be one of"),
        (("--level", "gpt2.json", "--lowercase"), "--lowercase is for a vocabulary that is learned, but gpt2.json has"),
    ],
)
def test_fit__rejects_in_one_sentence(run, verb: str, options: tuple[str, ...], message: str) -> None:
    Path("vocab.json").write_text('{"the": 0, "cat": 1}')
    code, out, err = run(verb, "fit", *TINY[verb], *options, "-o", "m", "-q")
    assert (code, out) == (1, "")
    assert err.startswith(f"lstmkit: {message}")
    assert err.count("\n") == 1
    assert not Path("m").exists()


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("lm", ("--vocabulary-size", 9)),
        ("lm", ("--min-count", 2)),
        ("lm", ("--spaces-only",)),
        ("translate", ("--size", 9)),
    ],
)
def test_fit__rejects_options_of_learning_by_their_names(run, verb: str, options: tuple[object, ...]) -> None:
    code, _, err = run(verb, "fit", *TINY[verb], "--level", "gpt2.json", *options, "-o", "m", "-q")
    assert code == 1
    assert (
        err == f"lstmkit: {options[0]} is for a vocabulary that is learned, but gpt2.json has its own; leave it out\n"
    )
