import json
import os

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstmkit.data import read_table, write_table
from lstmkit.spec import DataError, LSTMKitError, OptionError

RESULT = pd.DataFrame(
    {
        "unique_id": ["a", 'b "quoted", with comma', "ü"],
        "ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]),
        "lstm": [1.5, np.nan, -3e-7],
    }
)


def sentence(path):
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("t.csv", b"", "is empty"),
        ("t.parquet", b"", "is empty"),
        ("t.csv", b"\n", "begins with an empty line"),
        ("t.csv", b"ds,y\n", "no rows"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
        ("t.csv", b'{"ds": [1], "y": [2]}', "is JSON"),
        ("t.csv", b"PK\x03\x04rest", "an Excel workbook"),
        ("t.csv", b"PAR1\0\0\0", "a Parquet file"),
        ("t.csv", b"<html></html>", "HTML"),
        ("t.csv", b"\x7fELF\0\0\0", "a binary file"),
        ("t.csv", "ds,y\n1,2\n".encode("utf-16"), "UTF-16"),
        ("t.csv", "ds,y,Größe\n1,2,3\n".encode("latin-1"), "is not UTF-8 text"),
        ("t.csv", "unique_id,ds,y\nKöln,1,2\nKöln,2,3\n".encode("latin-1"), "is not UTF-8 text"),
        ("t.csv", b"ds,y\n1,2\n3\n4,5\n", "cannot be read as a table"),
        ("t.csv", b"ds;y\n2024-01-01;1,5\n2024-01-02;2,5\n", "a decimal comma"),
        ("t.parquet", b"ds,y\n1,2\n", "is no Parquet file"),
        ("t.parquet", b"PAR1" + b"\0" * 40, "cannot be read as a table"),
        ("t.xlsx", b"PK\x03\x04", "does not end in .csv, .tsv or .parquet"),
        ("table", b"ds,y\n1,2\n", "does not end in"),
    ],
)
def test_read_table__rejects_files_of_another_kind(tmp_path, name, content, part):
    (tmp_path / name).write_bytes(content)
    assert part in sentence(tmp_path / name)


def test_read_table__rejects_truncated_parquet(tmp_path):
    RESULT.to_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as a table" in sentence(tmp_path / "t.parquet")


def test_read_table__rejects_files_that_are_not_there(tmp_path):
    (tmp_path / "sales.csv").write_text("ds,y\n1,2\n")
    assert f"did you mean {tmp_path / 'sales.csv'}" in sentence(tmp_path / "sale.csv")
    assert "check the name" in sentence(tmp_path / "qqqqqq.parquet")
    assert "no folder" in sentence(tmp_path / "nowhere" / "sales.csv")
    assert "is a folder" in sentence(tmp_path)


def test_read_table__equals_clean_columns__byte_order_mark_and_blanks(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffds, y\r\n2024-01-01, 1\r\n2024-01-02, 2\r\n\r\n".encode())
    assert read_table(tmp_path / "t.csv").series.values.tolist() == [1, 2]


def test_read_table__equals_missing__empty_cells(tmp_path):
    (tmp_path / "t.csv").write_text("ds,y,other\n1,,x\n2,NA,y\n3,5,z\n")
    np.testing.assert_array_equal(read_table(tmp_path / "t.csv").series.values, [np.nan, np.nan, 5])


def test_read_table__never_writes(tmp_path):
    RESULT.to_csv(tmp_path / "t.csv", index=False)
    before = (tmp_path / "t.csv").stat().st_mtime_ns
    read_table(tmp_path / "t.csv", target_column="lstm", id_column=None)
    assert os.listdir(tmp_path) == ["t.csv"]
    assert (tmp_path / "t.csv").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "convert", [lambda f: f, pl.from_pandas, pa.Table.from_pandas], ids=["pandas", "polars", "arrow"]
)
@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "json"])
def test_write_table__roundtrips(tmp_path, convert, ending):
    path = tmp_path / f"t.{ending}"
    write_table(convert(RESULT), path)
    back = {
        "csv": lambda: pd.read_csv(path),
        "tsv": lambda: pd.read_csv(path, sep="\t"),
        "parquet": lambda: pq.read_table(path).to_pandas(),
        "json": lambda: pd.DataFrame(json.loads(path.read_text())),
    }[ending]()
    assert back["unique_id"].tolist() == RESULT["unique_id"].tolist()
    np.testing.assert_array_equal(back["lstm"].astype(float), RESULT["lstm"])
    assert pd.to_datetime(back["ds"]).tolist() == RESULT["ds"].tolist()
    assert os.listdir(tmp_path) == [f"t.{ending}"]


def test_write_table__equals_dates_without_zeros(tmp_path):
    write_table(RESULT, tmp_path / "days.csv")
    write_table(RESULT.assign(ds=RESULT["ds"] + pd.Timedelta("90min")), tmp_path / "hours.csv")
    assert (tmp_path / "days.csv").read_text().splitlines()[1] == "a,2024-01-01,1.5"
    assert (tmp_path / "hours.csv").read_text().splitlines()[1] == "a,2024-01-01 01:30:00,1.5"


def test_write_table__rejects_other_endings_and_keeps_the_old_file(tmp_path):
    with pytest.raises(OptionError, match=r"ends in \.csv"):
        write_table(RESULT, tmp_path / "t.xlsx")
    with pytest.raises(LSTMKitError, match="cannot write"):
        write_table(RESULT, tmp_path / "nowhere" / "t.csv")
    (tmp_path / "t.json").write_text("old")
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_table(pa.table({"raw": [b"bytes"]}), tmp_path / "t.json")
    assert (tmp_path / "t.json").read_text() == "old"
