"""Files of series: what they hold comes out, and a line that does not fit is named."""

from pathlib import Path

import numpy as np
import pytest

from lstmkit.data import read_series_table, read_ts
from lstmkit.spec import DataError

HEADER = (
    "# a comment\n@problemName Toy\n@timeStamps false\n@missing true\n@univariate false\n"
    "@classLabel true no yes\n@data\n"
)


def write(folder: Path, text: str, name: str = "toy.ts") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_ts__equals_what_was_written__uneven_with_missing_values(tmp_path: Path) -> None:
    found = read_ts(write(tmp_path, HEADER + "1,2.5,?:4,5,-6e-1:yes\n\n7 , NaN: 8,9:no\n"))
    np.testing.assert_array_equal(found.values[0], np.array([[1, 4], [2.5, 5], [np.nan, -0.6]], np.float32))
    np.testing.assert_array_equal(found.values[1], np.array([[7, 8], [np.nan, 9]], np.float32))
    assert (found.labels, found.names) == (["yes", "no"], ["line 8", "line 10"])
    assert len(found.channels) == 2


def test_ts__equals_what_was_written__one_channel_without_labels(tmp_path: Path) -> None:
    found = read_ts(write(tmp_path, "@classLabel false\n@DATA\n1,2\n3,4\n"))
    assert found.labels is None
    assert [values.tolist() for values in found.values] == [[[1], [2]], [[3], [4]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("@classLabel true a b\n", "no line @data"),
        ("1,2,3:a\n", "line 1: expected a line that begins with @"),
        (HEADER, "no series after"),
        (HEADER + "1,2:3,4:maybe\n", "line 8: the label 'maybe' is none of @classLabel: no, yes"),
        (HEADER + "1,2:3,x4:yes\n", "line 8: 'x4' is not a number"),
        (HEADER + "1,2:3,inf:yes\n", "line 8: a value is infinite"),
        (HEADER + "1,2:3:yes\n", "line 8: the channels of a series must be of one length; here: 2, 1"),
        (HEADER + "1,2:3,4:yes\n1,2:no\n", "line 9: 1 channels, but the first series has 2"),
        (HEADER + "yes\n", "line 8: the channels of a series must be of one length; here: none"),
        (HEADER.replace("timeStamps false", "timeStamps true") + "(0,1):yes\n", "time stamps"),
        (HEADER + "(0,1),(1,2):yes\n", "line 8: values with time stamps"),
        ("@targetLabel true\n@data\n1,2:0.5\n", "a number to predict"),
        ("@problemName \0\n", "binary"),
    ],
)
def test_ts__rejects(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        read_ts(write(tmp_path, text))


def test_ts__rejects_what_is_no_text_file(tmp_path: Path) -> None:
    (tmp_path / "b.ts").write_bytes(b"@problemName \xff\xfe\n")
    with pytest.raises(DataError, match="no UTF-8 text"):
        read_ts(tmp_path / "b.ts")
    with pytest.raises(DataError, match="there is no file"):
        read_ts(tmp_path / "c.ts")
    with pytest.raises(DataError, match="is a folder"):
        read_ts(tmp_path)


TABLE = "id,step,x,y,act\nb,2,3,4,run\na,1,5,,sit\nb,1,1,2,run\na,0,7,8,sit\n"


def test_table__equals_what_was_written__rows_out_of_order(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE, "t.csv")
    found = read_series_table(path, "id", "step", "act")
    assert (found.names, found.labels, found.channels) == (["b", "a"], ["run", "sit"], ("x", "y"))
    np.testing.assert_array_equal(found.values[0], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(found.values[1], [[7, 8], [5, np.nan]])
    unsorted = read_series_table(path, "id", None, None, ["y"])
    assert unsorted.labels is None
    np.testing.assert_array_equal(unsorted.values[0], [[4], [2]])


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (TABLE, ("who", "step", "act"), "no column 'who'; it has: id, step"),
        (TABLE.replace("b,1,1,2,run", "b,1,1,2,sit"), ("id", "step", "act"), "'b' has the labels 'run' and 'sit'"),
        (TABLE, ("id", "step", None), "the column 'act' holds .*string, not numbers"),
        (TABLE.replace("b,1,1", "b,,1"), ("id", "step", "act"), "'step' has an empty cell"),
        (TABLE.replace("5,,", "inf,,"), ("id", "step", "act"), "'x' holds a value that is infinite"),
        ("id,act\na,b\n", ("id", None, "act"), "no columns of values"),
        ("id,x,act\n", ("id", None, "act"), "has a header but no rows"),
    ],
)
def test_table__rejects(tmp_path: Path, text: str, arguments: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_series_table(write(tmp_path, text, "t.csv"), *arguments)
