"""Text and tables of text from files, good and bad."""

import gzip
import json

import numpy as np
import pytest

from lstmkit.data import hold_out, length_batches, pad, read_lines, read_records
from lstmkit.spec import DataError, OptionError

ROWS = [{"text": 'he said "no", twice', "label": "a"}, {"text": "größe\u2028x", "label": "b"}]


def test_lines__equal_what_was_written__any_line_end_and_mark(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffeins\r\nzwei\u2028x\n\ndrei".encode())
    assert list(read_lines(path)) == ["eins", "zwei\u2028x", "", "drei"]
    path.write_bytes("grün\n".encode("latin-1"))
    assert list(read_lines(path, "latin-1")) == ["grün"]
    path.write_bytes("grün\n".encode("utf-16"))
    assert list(read_lines(path, "utf-16")) == ["grün"]
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress("grün\nx".encode()))
    assert list(read_lines(packed)) == ["grün", "x"]


@pytest.mark.parametrize(
    ("content", "encoding", "words"),
    [
        (b"", "utf-8", "is empty"),
        (b"ab\0cd", "utf-8", "binary"),
        (b"one\ntwo\n" + "größe".encode("latin-1"), "utf-8", "latin-1"),
        ("x".encode("utf-16"), "utf-8", "UTF-16"),
        (gzip.compress(b"a\n" * 90_000)[:-20], "utf-8", "truncated or damaged"),
    ],
)
def test_lines__rejects_bad_file(tmp_path, content: bytes, encoding: str, words: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(read_lines(path, encoding))


def test_lines__rejects_what_is_not_there(tmp_path) -> None:
    (tmp_path / "train.txt").write_text("x")
    with pytest.raises(DataError, match=r"did you mean .*train\.txt"):
        next(read_lines(tmp_path / "trian.txt"))
    with pytest.raises(DataError, match="folder"):
        next(read_lines(tmp_path))
    with pytest.raises(OptionError, match="encoding"):
        next(read_lines(tmp_path / "train.txt", "utf-9"))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json"])
def test_records__equal_what_was_written(tmp_path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".csv":
        text = 'id,label,text\n1,a,"he said ""no"", twice"\n\n2,b,größe\u2028x\n'
    elif ending == ".tsv":
        text = 'label\ttext\na\the said "no", twice\nb\tgröße\u2028x\n'
    elif ending == ".jsonl":
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    else:
        text = json.dumps(ROWS, indent=1)
    path.write_text(text, encoding="utf-8")
    assert list(read_records(path, {"text": "text", "label": "label"})) == ROWS


def test_records__preserve_line_ends_inside_quotes(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"one\ntwo",x\n')
    assert list(read_records(path, {"said": "text"})) == [{"said": "one\ntwo"}]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "text,label\nx\n", "line 2: 1 cells"),
        ("a.tsv", "text\tlabel\nx\ty\nx\ty\tz\n", "line 3: 3 cells"),
        ("a.csv", "txt,label\nx,y\n", "did you mean 'txt'"),
        ("a.csv", 'text,label\n"x,y\n', "line"),
        ("a.jsonl", '{"text": "x"}\n{"text": \n', "line 2"),
        ("a.jsonl", '{"text": "x"}\n3\n', "line 2"),
        ("a.json", '[{"text": null}]', "entry 1"),
        ("a.json", '[{"text": "x"},', "no JSON"),
    ],
)
def test_records__rejects_bad_row(tmp_path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        list(read_records(path, {"text": "text"}))


def test_records__rejects_other_ending(tmp_path) -> None:
    with pytest.raises(OptionError, match=r"\.jsonl"):
        next(read_records(tmp_path / "a.xlsx", {}))


def test_batches__have_each_sequence_once_and_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1003)
    np.random.seed(1)
    batches = length_batches(lengths, 16, shuffle=True)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1003))
    spread = np.mean([lengths[batch].max() - lengths[batch].mean() for batch in batches])
    assert spread < 3
    assert [batch.tolist() for batch in length_batches(lengths, 16, shuffle=True)] != [b.tolist() for b in batches]
    sorted_batches = length_batches(lengths, 16, shuffle=False)
    assert np.all(np.diff(lengths[np.concatenate(sorted_batches)]) >= 0)


def test_pad__equals_rows() -> None:
    numbers, lengths = pad([[1, 2, 3], np.array([4])])
    assert (numbers.tolist(), lengths.tolist()) == ([[1, 2, 3], [4, 0, 0]], [3, 1])
    assert pad([])[0].shape == (0, 0)


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 1), (10, 1), (100, 10)])
def test_hold_out__equals_a_division(count: int, held: int) -> None:
    training, judging = hold_out(count)
    assert len(judging) == held
    assert sorted([*training, *judging]) == list(range(count))
