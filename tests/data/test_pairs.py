"""Pairs from one table or two texts: what is kept, and what every bad file is told."""

import gzip

import pytest

from lstmkit.data import read_pairs, read_parallel
from lstmkit.spec import DataError


def test_read_pairs__equals_the_columns(tmp_path) -> None:
    text = "\ufeffein Hund\ta dog\r\n\r\n \n  zwei \t two\r\n\tnothing\nempty\t\n日本\tʃ ɔ̃\n"
    (tmp_path / "p.tsv").write_bytes(text.encode())
    (tmp_path / "p.tsv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("p.tsv", "p.tsv.gz"):
        found = read_pairs(tmp_path / name)
        assert list(found.sources) == ["ein Hund", "zwei", "日本"]
        assert list(found.targets) == ["a dog", "two", "ʃ ɔ̃"]
        assert found.empty == 4


def test_read_parallel__equals_the_lines(tmp_path) -> None:
    (tmp_path / "a").write_text("one\n\nthree\nfour")
    (tmp_path / "b").write_text("eins\nzwei\ndrei\nvier\n")
    found = read_parallel(tmp_path / "a", tmp_path / "b")
    assert [*map(list, found[:2]), found.empty] == [["one", "three", "four"], ["eins", "drei", "vier"], 1]


@pytest.mark.parametrize(("first", "second"), [("1\n2\n3\n", "1\n"), ("1\n", "1\n2\n3\n")])
def test_read_parallel__rejects_uneven_texts__with_both_counts(tmp_path, first: str, second: str) -> None:
    (tmp_path / "a").write_text(first)
    (tmp_path / "b").write_text(second)
    counts = f"a has {first.count(chr(10))} lines, but .*b has {second.count(chr(10))}"
    with pytest.raises(DataError, match=counts):
        read_parallel(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\tb\nc d\n", "line 2: .* found 1 column$"),
        (b"a\tb\tc\n", "line 1: .* found 3 columns"),
        (b"\t\n \t \n", "all of its 2 lines have an empty side"),
        (b"", "is empty"),
        (b"\x00\x01\x02", "binary"),
        ("ä\tö".encode("latin-1"), "not in utf-8"),
    ],
)
def test_read_pairs__rejects_bad_files__by_line(tmp_path, content: bytes, said: str) -> None:
    (tmp_path / "p.tsv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_pairs(tmp_path / "p.tsv")


def test_read_pairs__reads_another_encoding(tmp_path) -> None:
    (tmp_path / "p.tsv").write_bytes("ä\tö".encode("latin-1"))
    assert [*map(list, read_pairs(tmp_path / "p.tsv", "latin-1")[:2])] == [["ä"], ["ö"]]
