"""Each fault of a table is one clear sentence: what was expected, what came, where, what to do."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lstmkit.data import read_table
from lstmkit.spec import LSTMKitError, OptionError

DAYS = pd.date_range("2024-01-01", periods=4)


def table(**columns):
    return pd.DataFrame(
        {"unique_id": ["a", "a", "b", "b"], "ds": [*DAYS[:2], *DAYS[:2]], "y": [1.0, 2, 3, 4], **columns}
    )


def single(times, values=None):
    return pd.DataFrame({"ds": times, "y": np.arange(len(times)) + 1.0 if values is None else values})


def sentence(source, **options):
    """The message of the error, after a look at its form."""
    with pytest.raises(LSTMKitError) as caught:
        read_table(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert caught.value.__cause__ is None
    return message


@pytest.mark.parametrize(
    ("rename", "options", "parts"),
    [
        ({"y": "Y"}, {}, ["no column 'y'", "did you mean 'Y'", "target_column="]),
        ({"ds": "date"}, {}, ["no column 'ds'", "unique_id, date, y", "time_column="]),
        ({}, {"time_column": "dds"}, ["no column 'dds'", "did you mean 'ds'"]),
        ({"unique_id": "uniqe_id"}, {}, ["no column 'unique_id'", "did you mean 'uniqe_id'", "id_column="]),
        ({}, {"id_column": "shop"}, ["no column 'shop'", "id_column="]),
        ({}, {"known": ["price"]}, ["no column 'price'", "known="]),
        ({}, {"static": "size"}, ["no column 'size'", "static="]),
    ],
)
@pytest.mark.parametrize("kind", ["pandas", "polars", "csv", "parquet"])
def test_read_table__rejects_absent_columns(tmp_path, kind, rename, options, parts):
    frame = table().rename(columns=rename)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    sources = {"pandas": frame, "polars": pl.from_pandas(frame)}
    message = sentence(sources.get(kind, tmp_path / f"t.{kind}"), **options)
    for part in parts:
        assert part in message


def test_read_table__rejects_times_in_the_index():
    message = sentence(single(DAYS).set_index("ds"))
    assert "no column 'ds'" in message
    assert "reset_index()" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known": ["y"]}, "'y' is given as target_column and as known"),
        ({"known": ["p"], "observed": ["p"]}, "'p' is given as known and as observed"),
        ({"target_column": ["y", "p"]}, "needs a table without ids"),
        ({"target_column": []}, "at least one column"),
        ({"gaps": "fill"}, "gaps must be 'mask' or 'error', not 'fill'"),
    ],
)
def test_read_table__rejects_options_that_exclude_each_other(options, message):
    with pytest.raises(OptionError, match=message):
        read_table(table(p=1.0), **options)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("abc", "write a number"),
        ("1,5", "decimal comma"),
        ("1.234,5", "decimal comma"),
        ("1,234.5", "commas between thousands"),
        ("1_000", "write a number"),
        ("12 °C", "write a number"),
    ],
)
@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "csv"])
def test_read_table__rejects_text_where_numbers_belong(tmp_path, kind, text, hint):
    frame = table().assign(y=["1.0", "2.5", text, "4"])
    sources = {"pandas": frame, "polars": pl.from_pandas(frame), "arrow": pa.Table.from_pandas(frame)}
    frame.to_csv(tmp_path / "t.csv", index=False)
    message = sentence(sources.get(kind, tmp_path / "t.csv"))
    assert f"column 'y' must hold numbers, but row 3 has the text {text!r}" in message
    assert hint in message


def test_read_table__rejects_text_far_down_a_file(tmp_path):
    """Past the first block, where the reader has already decided that the column holds numbers."""
    rows = [f"{i},{i}.5" for i in range(200_000)]
    rows[150_000] = "150000,oops"
    (tmp_path / "t.csv").write_text("ds,y\n" + "\n".join(rows))
    assert "row 150001 has the text 'oops'" in sentence(tmp_path / "t.csv")


def test_read_table__equals_numbers__clean_numbers_written_as_text():
    assert read_table(table(y=["1", " 2.5", "", "4e0"]), frequency="D").series.values[[0, 1, 3]].tolist() == [1, 2.5, 4]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ([1.0, "x", 3.0, 4.0], ["mixes types", "row 1 has the float 1.0", "row 2 the str 'x'"]),
        (["x", 1.0, 3.0, 4.0], ["mixes types", "row 2 the float 1.0"]),
        ([1j, 2j, 3j, 4j], ["values of type complex, which cannot be read"]),
        (list(DAYS), ["must hold numbers, not timestamp"]),
        ([[1], [2], [3], [4]], ["must hold numbers, not list"]),
    ],
)
def test_read_table__rejects_other_types_where_numbers_belong(values, parts):
    message = sentence(table(y=pd.Series(values, dtype=object)))
    for part in parts:
        assert part in message


@pytest.mark.parametrize("column", ["y", "price"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_read_table__rejects_infinities(column, value):
    frame = table(price=1.0)
    frame.loc[2, column] = value
    assert f"column '{column}' is infinite in row 3" in sentence(frame, known=["price"])


def test_read_table__rejects_numbers_too_large_for_the_type():
    with np.errstate(over="ignore"):
        assert "too large for float32" in sentence(table(y=[1, 2, 1e300, 4]), dtype=np.float32)


@pytest.mark.parametrize("kind", ["pandas", "polars", "csv"])
def test_read_table__rejects_duplicate_times(tmp_path, kind):
    frame = table(ds=[DAYS[0], DAYS[1], DAYS[3], DAYS[3]]).iloc[[3, 0, 1, 2]]
    frame.to_csv(tmp_path / "t.csv", index=False)
    source = {"pandas": frame, "polars": pl.from_pandas(frame)}.get(kind, tmp_path / "t.csv")
    assert "series 'b' has the time 2024-01-04 twice, in rows 1 and 4; keep one" in sentence(source)


def test_read_table__rejects_duplicate_times__several_series_without_ids():
    assert "id_column=" in sentence(single([1, 2, 1, 2]))


@pytest.mark.parametrize("shuffle", [[0, 1, 2, 3, 4, 5], [5, 2, 0, 1, 4, 3]])
def test_read_table__rejects_times_off_the_grid(shuffle):
    times = pd.date_range("2024-01-01", periods=6) + pd.to_timedelta([0, 0, 0, 7.5, 0, 0], "h")
    message = sentence(single(times).iloc[shuffle])
    row = shuffle.index(3) + 1
    assert f"series 'y' is irregular: row {row} (2024-01-04T07:30:00) comes 1.3125 days after" in message
    assert "steps of 'D'" in message
    assert "resample" in message


def test_read_table__rejects_weekends_among_business_days():
    weekend = pd.DatetimeIndex([*pd.bdate_range("2024-01-01", periods=8), pd.Timestamp("2024-01-13")])
    assert "is irregular: row 9 (2024-01-13)" in sentence(single(weekend), frequency="B")
    assert str(read_table(single(weekend)).series.frequency) == "D"


def test_read_table__rejects_a_step_that_the_rows_do_not_keep():
    assert "comes 1 days after the row before" in sentence(single(DAYS), frequency="2D")
    assert "comes 1 after the row before" in sentence(single([1, 2, 3]), frequency=2)


def test_read_table__rejects_gaps__when_asked():
    message = sentence(single(DAYS[[0, 1, 3]]), gaps="error")
    assert "no rows between 2024-01-02 and 2024-01-04" in message
    assert "after row 2" in message


@pytest.mark.parametrize("last", [pd.Timestamp("2199-01-01"), pd.Timestamp("2224-01-01")])
def test_read_table__rejects_gaps_beyond_reason(last):
    times = pd.DatetimeIndex([*pd.date_range("2024-01-01", periods=9, freq="min"), last])
    assert "too much to fill; check the times" in sentence(single(times))


@pytest.mark.parametrize("frequency", ["h", None])
def test_read_table__rejects_all_missing_series(frequency):
    frame = table(y=[1.0, 2.0, np.nan, np.nan])
    assert "series 'b' has no value at all" in sentence(frame, frequency=frequency)
    assert "series 'a' and 1 more has no value at all" in sentence(table(y=None))


@pytest.mark.parametrize("column", ["unique_id", "ds"])
@pytest.mark.parametrize("kind", ["pandas", "polars", "csv"])
def test_read_table__rejects_missing_ids_and_times(tmp_path, kind, column):
    frame = table()
    frame.loc[2, column] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    source = {"pandas": frame, "polars": pl.from_pandas(frame)}.get(kind, tmp_path / "t.csv")
    assert f"column '{column}' is missing a value in row 3" in sentence(source)


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        (["2024-01-01", "soon"], "row 2 has 'soon'"),
        (["soon", "2024-01-01"], "row 1 has 'soon'"),
        (["2024-01-01", "2024-02-30"], "row 2 has '2024-02-30'"),
        (["2023-02-28", "2023-02-29"], "row 2 has '2023-02-29'"),
        (["2024-01-01", "2024-13-01"], "row 2 has '2024-13-01'"),
        (["2024-01-01 23:00", "2024-01-01 24:00"], "row 2 has '2024-01-01 24:00'"),
        (["2024-01-01", "01.02.2024"], "row 2 has '01.02.2024'"),
        (["30/01/2024", "01/31/2024"], "row 2 has '01/31/2024'"),
        (["01/02/2024", "02/02/2024"], "do not show which number is the month"),
        (["2024-01-01", ""], "missing a value in row 2"),
        (["1024-01-01", "1024-01-02"], "row 1 has '1024-01-01'"),
        (["2024-01-01T00:00Z", "2024-01-02T00:00"], "mixes time zones: Z in row 1, none in row 2"),
        (["2024-01-01T00:00+01:00", "2024-07-01T00:00+02:00"], "mixes time zones: +01:00 in row 1, +02:00 in row 2"),
        (["20240101", "20240102"], "dates written as whole numbers (20240101); write them as 2024-01-01"),
    ],
)
@pytest.mark.parametrize("kind", ["pandas", "csv"])
def test_read_table__rejects_dates_that_cannot_be_read(tmp_path, kind, texts, part):
    frame = single(texts)
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert part in sentence(frame if kind == "pandas" and "" not in texts else tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("times", "part"),
    [
        ([20240131, 20240201], "dates written as whole numbers"),
        ([1.0, 2.5], "row 2 has 2.5: use whole numbers"),
        (np.array([1, 2**63 + 5], np.uint64), "in row 2 is too large"),
        (np.array([-(2**63), 2**63 - 1]), "in row 1 is too large"),
        (np.array(["1680-01-01", "2260-01-01"], "M8[s]"), "292 years apart"),
        ([True, False], "must hold times or whole numbers, not bool"),
        (pd.period_range("2024-01", periods=2, freq="M"), "to_timestamp()"),
        ([pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02", tz="Asia/Tokyo")], "mixes time zones: UTC"),
        ([pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02")], "mixes time zones"),
        ([pd.Timestamp("2024-01-01"), "2024-01-02"], "mixes types"),
        (np.array(["3024-01-01", "3024-01-02"], "M8[s]"), "outside 1678 to 2261"),
    ],
)
def test_read_table__rejects_other_things_where_times_belong(times, part):
    assert part in sentence(single(pd.Series(times, dtype=object) if isinstance(times, list) else times))


def test_read_table__equals_dates__python_dates():
    times = [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]
    assert read_table(single(pd.Series(times, dtype=object))).series.timestamps[0] == DAYS[0].value


def test_read_table__rejects_static_columns_that_change():
    message = sentence(table(size=[1.0, np.nan, 2.0, 3.0]), static=["size"])
    assert "static column 'size' changes within series 'b': row 4 has 3, earlier rows 2" in message
    assert "no value for series 'b'" in sentence(table(size=[1.0, 1.0, np.nan, np.nan]), static=["size"])


@pytest.mark.parametrize("empty", [pd.DataFrame({"ds": [], "y": []}), pl.DataFrame({"ds": [], "y": []})])
def test_read_table__rejects_tables_without_rows(empty):
    assert "the table has no rows" in sentence(empty)


def test_read_table__rejects_tables_without_columns():
    assert "no columns" in sentence(pd.DataFrame())


def test_read_table__rejects_single_rows_without_frequency():
    assert "give frequency=" in sentence(single(DAYS[:1]))


@pytest.mark.parametrize("source", [{"ds": [1], "y": [1]}, [1, 2], None, 5, np.zeros((2, 2))])
def test_read_table__rejects_what_is_no_table(source):
    with pytest.raises(OptionError, match="must be a pandas, Polars or PyArrow frame or the path"):
        read_table(source)


@pytest.mark.parametrize("kind", ["pandas", "arrow", "csv"])
def test_read_table__rejects_columns_of_one_name(tmp_path, kind):
    (tmp_path / "t.csv").write_text("ds,y,y\n1,2,3\n2,3,4\n")
    sources = {
        "pandas": pd.DataFrame([[1, 2, 3]], columns=["ds", "y", "y"]),
        "arrow": pa.table([[1], [2], [3]], names=["ds", "y", "y"]),
    }
    message = sentence(sources.get(kind, tmp_path / "t.csv"))
    assert "more than one column" in message
    assert "'y'" in message


def test_read_table__rejects_column_names_that_are_no_text():
    assert "column names must be text, not 0" in sentence(pd.DataFrame([[1, 2.0]]))
