"""Lists on disk: they are what was put in, leave nothing behind, and say when there is no room."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lstmkit.data import DiskList, keep, keep_numbers, keep_texts, parts, take
from lstmkit.spec import LSTMKitError

TEXTS = ["", "naïve 日本 🙂", "a\nb\tc\0", "\ud800 alone", "", "x" * 5000, "end"]


def test_texts__roundtrip() -> None:
    kept = keep_texts(iter(TEXTS))
    assert list(kept) == [kept[k] for k in range(len(TEXTS))] == TEXTS
    assert kept[-1] == "end"
    assert "日本" not in kept
    with pytest.raises(IndexError):
        kept[len(TEXTS)]


def test_numbers__roundtrip() -> None:
    rows = [[1, -2, 3], [], np.array([2**31 - 1, 0]), (7,)]
    found = list(keep_numbers(rows))
    assert [row.tolist() for row in found] == [list(map(int, row)) for row in rows]
    assert {row.dtype for row in found} == {np.dtype(np.int32)}


def test_values__roundtrip__more_than_are_read_together() -> None:
    kept = keep(range(5000), lambda number: str(number).encode(), lambda found: int(bytes(found)))
    assert list(kept) == list(range(5000))
    assert [len(part) for part in parts(kept)] == [2000, 2000, 1000]


@pytest.mark.parametrize("index", [slice(0, None, 2), slice(5, 1, -1), slice(3, 3), np.array([6, 0, 0, 3])])
def test_views__equal_those_of_a_list(index) -> None:
    expected = [TEXTS[k] for k in np.arange(len(TEXTS))[index]]
    found = keep_texts(TEXTS)[index]
    assert isinstance(found, DiskList)
    assert list(found) == expected
    assert len(found) == len(expected)


def test_views_of_views__outlive_the_list() -> None:
    found = keep_texts(str(k) for k in range(100))[1::2][np.array([3, 1])]
    assert list(found) == ["7", "3"]


@pytest.mark.parametrize("items", [TEXTS, keep_texts(TEXTS)], ids=["memory", "disk"])
def test_take__equals_the_rows(items) -> None:
    assert list(take(items, np.array([6, 1]))) == ["end", TEXTS[1]]


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_nothing__roundtrips(texts) -> None:
    assert list(keep_texts(texts)) == texts


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(not hasattr(__import__("os"), "O_TMPFILE"), reason="only Linux has files without a name")
def test_list__never_leaves_a_file__whatever_happens(folder) -> None:
    def texts(error: type[BaseException]):
        yield "x" * 100_000
        assert list(folder.iterdir()) == []
        raise error

    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error):
            keep_texts(texts(error))
    kept = keep_texts(["still here"])
    assert list(folder.iterdir()) == []
    assert kept[0] == "still here"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to test with")
@pytest.mark.parametrize("size", [10, 10_000_000])
def test_list__rejects_a_full_disk__by_what_to_do(monkeypatch, folder, size: int) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(Path("/dev/full").open, "w+b"))
    with pytest.raises(LSTMKitError, match=f"no space left.*free some space in {folder}, or set .*TMPDIR"):
        keep_texts(["x" * size])


def test_list__rejects_a_missing_folder(monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/there/is/none")
    with pytest.raises(LSTMKitError, match="no such file"):
        keep_texts(["x"])
