"""``lstmkit lm``: happy paths, outputs, silence, and one clear sentence for every bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstmkit.cli import main

pytest.importorskip("tokenizers", reason="the command needs the extra text")

TEXT = "the cat sat on the mat\nthe dog lay on the rug\n" * 60
TINY = ["--level", "character", "--hidden-size", "8", "--layers", "1", "--max-steps", "3"]
COMMAND = [sys.executable, "-c", "import sys; from lstmkit.cli import main; sys.exit(main())", "lm"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a text and the model that the command line has trained on it."""
    folder = tmp_path_factory.mktemp("lm")
    (folder / "t.txt").write_text(TEXT)
    assert main(["lm", "fit", str(folder / "t.txt"), "-o", str(folder / "m"), "-q", *TINY]) == 0
    return folder


@pytest.fixture
def run(capsys):
    """Run one command in this process: exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["lm", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_fit__prints_scores_and_says_what_it_saved(run, folder, tmp_path):
    code, out, err = run("fit", folder / "t.txt", "--valid", folder / "t.txt", "-o", tmp_path / "m", *TINY)
    assert code == 0
    assert "perplexity" in out
    assert f"{len(TEXT):,} characters" in out
    assert f"saved {tmp_path / 'm'}" in err


def test_fit__never_prints__quiet(folder, tmp_path):
    words = [str(folder / "t.txt"), "-o", str(tmp_path / "m"), "-q", *TINY]
    found = subprocess.run([*COMMAND, "fit", *words], text=True, capture_output=True, cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_predict__writes_on(run, folder):
    code, out, err = run("predict", folder / "m", "--prompt", "the ", "-n", "30", "--seed", "1", "--top-k", "5")
    assert (code, err) == (0, "")
    assert out.startswith("the ")
    assert len(out) == 4 + 30 + 1
    assert run("predict", folder / "m", "--prompt", "the ", "-n", "30", "--seed", "1", "--top-k", "5")[1] == out
    assert run("predict", folder / "m", "-p", "the ", "-n", "30", "--beam", "2")[0] == 0


def test_predict__takes_prompts_from_a_file(run, folder, tmp_path):
    (tmp_path / "p.txt").write_text("the c\n\na dog\n")
    code, out, err = run("predict", folder / "m", tmp_path / "p.txt", "-n", 5, "-o", tmp_path / "o.jsonl")
    assert (code, out) == (0, "")
    assert "wrote 3 continuations" in err
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == ["the c", "", "a dog"]
    assert all(len(row["text"]) == 5 for row in rows)


def test_evaluate__prints_json_or_a_table(run, folder, tmp_path):
    code, out, err = run("evaluate", folder / "m", folder / "t.txt", "--json")
    assert (code, err) == (0, "")
    scores = json.loads(out)
    assert scores["tokens"] == len(TEXT)
    assert scores["perplexity"] > 1
    assert {"bits_per_character", "nats_per_token"} <= scores.keys()
    code, out, _ = run("evaluate", folder / "m", folder / "t.txt", "--dynamic", "-o", tmp_path / "o.csv")
    assert code == 0
    assert "dynamic evaluation" in out
    assert (tmp_path / "o.csv").read_text().startswith("file,nats_per_token,perplexity")


def test_predict__never_loads_torch(folder):
    code = (
        "import sys; from lstmkit.cli import main; code = main(sys.argv[1:]);"
        "slow = {'torch', 'accelerate', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules);"
        "print(sorted(slow), file=sys.stderr); sys.exit(code)"
    )
    words = ["lm", "predict", str(folder / "m"), "-n", "3"]
    found = subprocess.run([sys.executable, "-c", code, *words], text=True, capture_output=True)
    assert (found.returncode, found.stderr) == (0, "[]\n")


def test_predict__streams_and_ends_cleanly__interrupted(folder):
    command = [*COMMAND, "predict", str(folder / "m"), "-n", "100000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert len(process.stdout.read(20)) == 20
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.endswith("\n")
    assert err == "lstmkit: interrupted\n"


def test_fit__saves_the_best_so_far__interrupted(folder, tmp_path):
    words = [str(folder / "t.txt"), "-o", str(tmp_path / "m"), *TINY[:-2], "--max-steps", "1000000"]
    log = tmp_path / "log"
    command = [*COMMAND, "fit", *words, "--log", str(log), "--validate-every", "5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and not (log.exists() and "validation" in log.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the best model so far" in err
    assert (tmp_path / "m").exists()


def test_predict__never_complains__when_its_reader_leaves(folder):
    command = " ".join(f"'{word}'" for word in [*COMMAND, "predict", str(folder / "m"), "-n", "200000"])
    found = subprocess.run(["bash", "-c", f"{command} | head -c 50"], capture_output=True, text=True, timeout=60)
    assert found.stderr == ""
    assert len(found.stdout) >= 50


# What is in the file -> words of the sentence.
BAD_TEXTS = {
    "empty": (b"", "is empty; give a file with text"),
    "binary": (b"\x00\x01\x02text", "is a binary file"),
    "latin": ("caf\xe9\n".encode("latin-1") * 50, "is not in utf-8 (near line"),
    "short": (b"hi\n", "a text of 3 tokens is too short"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_fit__rejects_a_bad_text__in_one_sentence(run, tmp_path, name):
    content, message = BAD_TEXTS[name]
    (tmp_path / "bad.txt").write_bytes(content)
    code, out, err = run("fit", tmp_path / "bad.txt", "-o", tmp_path / "m", "-q", *TINY)
    assert (code, out) == (1, "")
    assert err.startswith("lstmkit: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hidden-size", "0"], "--hidden-size must be"),
        (["--vocabulary-size", "0"], "--vocabulary-size must be"),
        (["--bptt", "0"], "--bptt must be"),
        (["--streams", "0"], "--streams must be"),
        (["--epochs", "0"], "--epochs must be"),
        (["--layers", "0"], "--layers must be"),
        (["--level", "phoneme"], "level must be one of"),
        (["--adaptive", "5000"], "--adaptive=5000 leaves no rare tokens"),
        (["--encoding", "klingon"], "there is no encoding 'klingon'"),
    ],
)
def test_fit__rejects_options__by_their_names(run, folder, tmp_path, words, message):
    code, out, err = run("fit", folder / "t.txt", "-o", tmp_path / "m", "-q", *TINY, *words)
    assert (code, out) == (1, "")
    assert message in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "-1"], "temperature must be"),
        (["--top-p", "2"], "--top-p must be"),
        (["--top-k", "0"], "--top-k must be"),
        (["--precision", "int4"], "expected the precision"),
        (["--length", "-1"], "length must be"),
        (["--beam", "2", "--top-k", "3"], "a beam search draws nothing"),
        (["--output", "x.doc"], "--output must end in"),
    ],
)
def test_predict__rejects_options__by_their_names(run, folder, words, message):
    code, out, err = run("predict", folder / "m", *words)
    assert (code, out) == (1, "")
    assert message in err


def test_another_task__is_refused(folder, tmp_path, run):
    shape = Path(os.devnull)
    assert run("predict", shape)[0] == 1
