from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.data import read_table, result_frame
from lstmkit.features import Frequency
from lstmkit.spec import OptionError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"

KINDS = {
    "pandas": lambda frame: frame,
    "pandas-arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "pandas-category": lambda frame: frame.astype({"unique_id": "category"}),
    "polars": pl.from_pandas,
    "polars-lazy": lambda frame: pl.from_pandas(frame).lazy(),
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}


def long_table(lengths=(5, 3, 9), start="2024-02-26", seed=0, freq="D"):
    """Uneven series, a missing value, a shuffled order of rows."""
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": pd.date_range(pd.Timestamp(start) + i * pd.Timedelta("30D"), periods=n, freq=freq),
                "y": rng.normal(size=n),
                "price": rng.normal(size=n),
                "noise": rng.integers(0, 9, n),
                "size": float(i) + 0.5,
            }
        )
        for i, n in enumerate(lengths)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame.loc[len(frame) // 2, "y"] = np.nan
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def assert_same(one, other):
    for name in ("values", "starts", "stops", "timestamps", "known", "observed", "static"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.ids.tolist() == other.ids.tolist()
    assert one.frequency == other.frequency


def by_hand(frame, known=(), observed=()):
    """An independent, slow account: pandas, one series at a time."""
    for name in dict.fromkeys(frame["unique_id"]):
        part = frame[frame["unique_id"] == name].set_index("ds").sort_index().asfreq("D")
        yield name, part


@given(lengths=st.lists(st.integers(2, 12), min_size=1, max_size=5), seed=st.integers(0, 99), drop=st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_read_table__matches_pandas_asfreq__shuffled_with_rows_missing(lengths, seed, drop):
    frame = long_table([*lengths, 9], seed=seed)
    frame = frame.drop(index=list(range(min(drop, len(frame) - 6))))
    frame.loc[frame.index[0], "y"] = 1.0
    frame["y"] = frame["y"].fillna(7.0)
    frame.loc[frame.index[-1], "y"] = np.nan if (frame.groupby("unique_id").size() > 1).all() else 1.0
    series = read_table(frame, known=["price"], observed=["noise"], static=["size"], frequency="D").series
    expected = list(by_hand(frame))
    assert series.ids.tolist() == [name for name, _ in expected]
    for i, (_, part) in enumerate(expected):
        np.testing.assert_array_equal(series.target(i), part["y"])
        np.testing.assert_array_equal(series.known[series.rows(i), 0], part["price"])
        np.testing.assert_array_equal(series.observed[series.rows(i), 0], part["noise"])
        np.testing.assert_array_equal(series.times(i), part.index.as_unit("ns").asi8)
        assert series.static[i, 0] == part["size"].dropna().iloc[0]


@pytest.mark.parametrize("kind", KINDS)
@given(lengths=st.lists(st.integers(2, 9), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_read_table__equals_that_of_pandas__every_kind_of_frame(kind, lengths, seed):
    frame = long_table([*lengths, 8], seed=seed)
    options = {"known": ["price"], "observed": ["noise"], "static": ["size"]}
    assert_same(read_table(KINDS[kind](frame), **options).series, read_table(frame, **options).series)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".semicolon.csv"])
def test_read_table__equals_that_of_pandas__files(tmp_path, ending):
    frame = long_table(freq="h")
    path = tmp_path / f"table{ending}"
    if ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep={".tsv": "\t", ".semicolon.csv": ";"}.get(ending, ","))
    options = {"known": ["price"], "observed": ["noise"], "static": ["size"]}
    assert_same(read_table(path, **options).series, read_table(frame, **options).series)
    assert_same(read_table(str(path)).series, read_table(frame).series)


@pytest.mark.parametrize("kind", KINDS)
def test_result_frame__roundtrips_ids_and_times(kind):
    frame = long_table()
    native = KINDS[kind](frame)
    table = read_table(native)
    series = table.series
    result = result_frame(np.repeat(series.ids, series.lengths), series.timestamps, {"y": series.values}, table.layout)
    if kind == "polars-lazy":
        native = native.collect()
    assert type(result) is type(native)
    back = result if isinstance(result, pd.DataFrame) else result.to_pandas()
    expected = frame.assign(order=frame["unique_id"].map({name: i for i, name in enumerate(series.ids)}))
    expected = expected.sort_values(["order", "ds"])
    assert back["unique_id"].tolist() == expected["unique_id"].tolist()
    assert back["ds"].tolist() == expected["ds"].tolist()
    np.testing.assert_array_equal(back["y"].astype(float), expected["y"])
    if isinstance(result, pd.DataFrame):
        assert result.dtypes[["unique_id", "ds"]].tolist() == native.dtypes[["unique_id", "ds"]].tolist()
    elif isinstance(result, pl.DataFrame):
        assert result.schema["ds"] == native.schema["ds"]
    else:
        assert result.schema.field("ds").type == native.schema.field("ds").type


@pytest.mark.parametrize(
    "times",
    [
        pd.Series(pd.date_range("2024-01-01", periods=6, freq="h")).astype("datetime64[s]"),
        pd.Series(pd.date_range("2024-03-30", periods=6, freq="h", tz="UTC")),
        pd.Series(pd.date_range("2024-03-30 20:00", periods=6, freq="h", tz="Europe/Berlin")),
        pd.Series(pd.date_range("2024-03-29", periods=6, freq="D", tz="Europe/Berlin")),
        pd.Series(np.array([3, 5, 7, 9, 11, 13], np.int32)),
        pd.Series(pd.date_range("2023-10-31", periods=6, freq="ME")),
    ],
    ids=["seconds", "utc", "berlin-hours", "berlin-days", "int32", "month-ends"],
)
@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_result_frame__roundtrips_the_type_of_time(kind, times):
    native = KINDS[kind](pd.DataFrame({"when": times, "value": np.arange(6.0)}))
    table = read_table(native, time_column="when", target_column="value")
    assert not np.isnan(table.series.values).any()
    result = result_frame(["value"] * 6, table.series.timestamps, {}, table.layout)
    same = {
        "pandas": lambda: result["when"].equals(native["when"]),
        "polars": lambda: result["when"].equals(native["when"]) and result["when"].dtype == native["when"].dtype,
        "arrow": lambda: result["when"].equals(native["when"]) and result["when"].type == native["when"].type,
    }
    assert same[kind]()
    assert len(result.to_pandas().columns if kind != "pandas" else result.columns) == 1


@pytest.mark.parametrize(
    ("texts", "first", "frequency"),
    [
        (["2024-01-30", "2024-01-31", "2024-02-01"], "2024-01-30", "D"),
        (["2024-01-30 23:00", "2024-01-31 00:00", "2024-01-31T01:00:00.000"], "2024-01-30T23", "h"),
        (["1949-01", "1949-02", "1949-03"], "1949-01-01", "MS"),
        (["2024/1/31", "2024/2/1", "2024/2/2"], "2024-01-31", "D"),
        (["31.12.2023", "1.1.2024", "2.1.2024"], "2023-12-31", "D"),
        (["01/31/2024", "02/01/2024", "02/02/2024"], "2024-01-31", "D"),
        (["01/01/2024", "08/01/2024", "15/01/2024"], "2024-01-01", "W-MON"),
        (["2024-01-31T02:00+02:00", "2024-01-31T03:00+02:00", "2024-01-31T04:00+02:00"], "2024-01-31", "h"),
        (["2024-01-31 00:00Z", "2024-01-31 06:00Z", "2024-01-31 12:00Z"], "2024-01-31", "6h"),
        ([" 2024-01-30", "2024-01-31 ", "2024-02-01"], "2024-01-30", "D"),
        (["7", "9", "11"], 7, "2"),
    ],
)
@pytest.mark.parametrize("kind", ["pandas", "polars", "csv"])
def test_read_table__equals_the_dates_written_as_text(tmp_path, kind, texts, first, frequency):
    frame = pd.DataFrame({"ds": texts, "y": [1.0, 2, 3]})
    source = tmp_path / "t.csv" if kind == "csv" else KINDS[kind](frame)
    frame.to_csv(tmp_path / "t.csv", index=False)
    series = read_table(source).series
    expected = first if isinstance(first, int) else pd.Timestamp(first).value
    assert series.timestamps[0] == expected
    assert str(series.frequency) == frequency
    assert series.values.tolist() == [1, 2, 3]


def test_result_frame__equals_datetimes__times_came_as_text():
    frame = pd.DataFrame({"ds": ["2024-01-30", "2024-01-31"], "y": [1.0, 2]})
    for kind in ("pandas", "polars", "arrow"):
        table = read_table(KINDS[kind](frame))
        result = result_frame(["y", "y"], table.series.timestamps, {}, table.layout, cutoffs=table.series.timestamps)
        back = result if kind == "pandas" else result.to_pandas()
        assert back["ds"].tolist() == pd.to_datetime(frame["ds"]).tolist()
        assert back["cutoff"].tolist() == back["ds"].tolist()


@pytest.mark.parametrize("hour", ["00:00", "07:30"])
@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_result_frame__equals_the_same_instants__offsets_in_text(kind, hour):
    frame = pd.DataFrame({"ds": [f"2024-02-29T{hour}+05:30", f"2024-03-01T{hour}+05:30"], "y": [1.0, 2]})
    table = read_table(KINDS[kind](frame))
    result = result_frame(["y", "y"], table.series.timestamps, {}, table.layout)
    back = result if kind == "pandas" else result.to_pandas()
    assert back["ds"].tolist() == pd.to_datetime(frame["ds"]).tolist()
    assert table.series.timestamps[0] == pd.Timestamp(f"2024-02-29T{hour}").value


@pytest.mark.parametrize(
    ("column", "first"),
    [
        (pl.Series(["b", "b", "a"], dtype=pl.Enum(["a", "b", "c"])), "b"),
        (pl.Series(["b", "b", "a"], dtype=pl.Categorical), "b"),
        (pl.Series([7, 7, 3], dtype=pl.UInt8), 7),
        (pd.Series(["b", "b", "a"], dtype="string"), "b"),
        (pd.Series(["b", "b", "a"], dtype=pd.CategoricalDtype(["a", "z", "b"])), "b"),
        (pa.chunked_array([pa.array(["b"]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()]), "b"),
    ],
    ids=["enum", "categorical", "uint8", "string", "category", "dictionaries"],
)
def test_result_frame__roundtrips_the_type_of_ids(column, first):
    make = {"polars": pl.DataFrame, "pandas": pd.DataFrame, "pyarrow": pa.table}[type(column).__module__.split(".")[0]]
    table = read_table(make({"unique_id": column, "ds": [2, 1, 1], "y": [1.0, 2, 3]}))
    assert table.series.ids[0] == first
    assert table.series.values.tolist() == [2, 1, 3]
    result = result_frame(table.series.ids, [3, 2], {}, table.layout)
    if isinstance(column, pa.ChunkedArray):
        assert result["unique_id"].to_pylist() == ["b", "a"]
    else:
        assert result["unique_id"].dtype == column.dtype
        assert result["unique_id"].to_list() == table.series.ids.tolist()


@pytest.mark.parametrize(
    ("freq", "shift"), [("h", "37min"), ("MS", "14D9h"), ("B", "9h30min"), ("W-SUN", "5h"), ("QE", "0h")]
)
def test_read_table__matches_pandas__rows_missing_off_the_round_hour(freq, shift):
    whole = pd.date_range("2023-11-01", periods=40, freq=freq) + pd.Timedelta(shift)
    kept = np.setdiff1d(np.arange(40), [1, 7, 8, 21])
    series = read_table(pd.DataFrame({"ds": whole[kept], "y": kept + 1.0})).series
    np.testing.assert_array_equal(series.timestamps, whole.asi8)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(series.values)), [1, 7, 8, 21])
    np.testing.assert_array_equal(series.values[kept], kept + 1.0)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data is not beside the repository")
@pytest.mark.parametrize(
    ("path", "options", "rows", "frequency", "missing"),
    [
        ("etth1/ETTh1.csv", {"time_column": "date", "target_column": ["HUFL", "OT"]}, 2 * 17420, "h", 0),
        ("vix/vix-daily.csv", {"time_column": "DATE", "target_column": "CLOSE"}, 9538, "B", 303),
        ("classic/airline-passengers.csv", {"time_column": "Month", "target_column": "Passengers"}, 144, "MS", 0),
    ],
)
def test_read_table__equals_the_shape_of_known_files(path, options, rows, frequency, missing):
    series = read_table(SHARED / path, **options).series
    assert (series.num_rows, str(series.frequency), np.isnan(series.values).sum()) == (rows, frequency, missing)


def test_read_table__equals_one_series_per_target__wide_file(tmp_path):
    frame = pd.DataFrame(
        {"date": pd.date_range("2016-07-01", periods=4, freq="h"), "OT": [1.0, 2, 3, 4], "HUFL": [5, 6, 7, 8]}
    )
    frame.loc[[3, 0, 2, 1]].to_csv(tmp_path / "wide.csv", index=False)
    table = read_table(tmp_path / "wide.csv", time_column="date", target_column=["HUFL", "OT"], known=[], observed=[])
    assert table.series.ids.tolist() == ["HUFL", "OT"]
    assert [table.series.target(i).tolist() for i in range(2)] == [[5, 6, 7, 8], [1, 2, 3, 4]]
    result = result_frame(np.repeat(table.series.ids, 4), table.series.timestamps, {}, table.layout)
    assert result["unique_id"].tolist() == ["HUFL"] * 4 + ["OT"] * 4
    assert read_table(frame, time_column="date", target_column="OT").series.ids.tolist() == ["OT"]


def test_read_table__equals_text_ids__csv_with_leading_zeros(tmp_path):
    (tmp_path / "t.csv").write_text("unique_id,ds,y\n007,1,1\n007,2,2\n7,1,3\n7,2,4\n")
    assert read_table(tmp_path / "t.csv").series.ids.tolist() == ["007", "7"]


def test_read_table__preserves_integer_ids():
    frame = pd.DataFrame({"unique_id": [9, 9, 4, 4], "ds": [1, 2, 1, 2], "y": [1, 2, 3, 4]})
    table = read_table(frame)
    assert table.series.ids.tolist() == [9, 4]
    result = result_frame([9, 4], [3, 3], {"lstm": [0.5, 1.5]}, table.layout)
    assert result.dtypes["unique_id"] == frame.dtypes["unique_id"]


def test_read_table__never_changes_the_frame():
    frame = long_table()
    before = frame.copy(deep=True)
    series = read_table(frame, known=["price"]).series
    series.values[:] = -1
    series.known[:] = -1
    pd.testing.assert_frame_equal(frame, before)


def test_read_table__never_changes_the_frame__nothing_to_sort():
    frame = pd.DataFrame({"ds": [1, 2, 3], "y": [1.0, 2, 3]})
    series = read_table(frame).series
    series.values[:] = -1
    series.timestamps[:] = -1
    assert frame["y"].tolist() == [1, 2, 3]
    assert frame["ds"].tolist() == [1, 2, 3]


def test_read_table__equals_future_covariates__without_target():
    frame = pd.DataFrame({"ds": [4, 5], "promotion": [True, False]})
    series = read_table(frame, target_column=None, known=["promotion"]).series
    assert series.known.tolist() == [[1], [0]]
    assert np.isnan(series.values).all()


def test_read_table__preserves_constant_series():
    assert read_table(pd.DataFrame({"ds": [1, 2, 3], "y": [5, 5, 5]})).series.values.tolist() == [5, 5, 5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_read_table__equals_the_float_type_asked_for(dtype):
    series = read_table(long_table(), known=["price"], static=["size"], dtype=dtype).series
    assert {series.values.dtype, series.known.dtype, series.static.dtype, series.observed.dtype} == {np.dtype(dtype)}


def test_read_table__matches_the_frequency_given__single_rows():
    frame = pd.DataFrame({"unique_id": ["a", "b"], "ds": pd.to_datetime(["2024-01-31", "2024-02-29"]), "y": [1.0, 2]})
    assert read_table(frame, frequency="ME").series.frequency == Frequency(1, "ME")


@pytest.mark.parametrize(
    ("frequency", "message"), [(2, "holds times; give a name"), ("hourly", "did you mean 'h'"), ("0D", "no frequency")]
)
def test_read_table__rejects_frequencies_that_do_not_fit(frequency, message):
    with pytest.raises(OptionError, match=message):
        read_table(long_table(), frequency=frequency)
