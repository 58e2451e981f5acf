import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.features import Frequency, future_timestamps, infer_frequency, join, parse_frequency, split
from lstmkit.spec import DataError, OptionError

PANDAS_NAMES = [
    "s",
    "15min",
    "30min",
    "h",
    "6h",
    "D",
    "2D",
    "W-SUN",
    "2W-WED",
    "B",
    "MS",
    "ME",
    "2MS",
    "QS",
    "QE",
    "YS",
    "YE",
]


def nanoseconds(times):
    return pd.DatetimeIndex(times).as_unit("ns").asi8


@pytest.mark.parametrize("name", PANDAS_NAMES)
def test_parse_frequency__roundtrips_pandas_names(name):
    assert str(parse_frequency(name)) == name


@pytest.mark.parametrize(
    ("given_name", "canonical"),
    [("60min", "h"), ("24h", "D"), ("3600s", "h"), ("H", "h"), ("T", "min"), ("M", "ME"), ("12MS", "YS"), ("7D", "7D")],
)
def test_parse_frequency__equals_the_shortest_name(given_name, canonical):
    assert str(parse_frequency(given_name)) == canonical


@pytest.mark.parametrize(
    ("name", "length"),
    [
        *[
            ("h", 24),
            ("D", 7),
            ("B", 5),
            ("W", 52),
            ("MS", 12),
            ("ME", 12),
            ("QS", 4),
            ("QE", 4),
            ("YS", 1),
            ("15min", 96),
        ],
        *[
            ("30min", 48),
            ("min", 60),
            ("s", 60),
            ("10min", 144),
            ("5min", 288),
            ("2h", 12),
            ("2W", 26),
            ("5D", 1),
            (3, 1),
        ],
        *[("ms", 60_000), ("2MS", 6), ("5MS", 1)],
    ],
)
def test_season_length__equals_the_usual_one(name, length):
    assert parse_frequency(name).season_length == length


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        *[("hourly", "'h'"), ("mon", "'MS'"), ("H1", None), ("m", "'min'"), ("dayly", "'D'"), ("0h", None), ("", None)],
        *[("weekly", "'W'"), ("minn", "'min'"), (2.5, None), (True, None)],
    ],
)
def test_parse_frequency__rejects_unknown_names(name, nearest):
    with pytest.raises(OptionError, match="no frequency is called") as caught:
        parse_frequency(name)
    if nearest:
        assert f"did you mean {nearest}" in str(caught.value)


@pytest.mark.parametrize("step", [0, -3])
def test_parse_frequency__rejects_steps_below_one(step):
    with pytest.raises(OptionError, match="at least 1"):
        parse_frequency(step)


@pytest.mark.parametrize("name", PANDAS_NAMES)
@pytest.mark.parametrize("start", ["1896-02-27 13:07:05", "1999-12-30", "2100-02-26 23:59:59"])
def test_future_timestamps__matches_pandas(name, start):
    expected = nanoseconds(pd.date_range(start, periods=100, freq=name))
    frequency = parse_frequency(name)
    np.testing.assert_array_equal(future_timestamps(expected[0], frequency, 99), expected[1:])
    several = future_timestamps(expected[:3], frequency, 5)
    np.testing.assert_array_equal(several, np.lib.stride_tricks.sliding_window_view(expected[1:8], 5))


@given(
    frequency=st.sampled_from([parse_frequency(name) for name in (*PANDAS_NAMES, "5MS", "7ME", 1, 7)]),
    times=st.lists(st.integers(-(2 * 10**18), 7 * 10**18), min_size=1, max_size=20),
)
def test_split__roundtrips_through_join(frequency, times):
    timestamps = np.array(times, np.int64)
    if frequency.unit == "B":
        days = timestamps // 86_400_000_000_000
        timestamps = timestamps[(days + 3) % 7 < 5]
    np.testing.assert_array_equal(join(*split(timestamps, frequency), frequency), timestamps)


@pytest.mark.parametrize("name", [name for name in PANDAS_NAMES if name not in ("2MS",)])
def test_infer_frequency__matches_pandas__a_third_of_the_rows_missing(name):
    times = nanoseconds(pd.date_range("1899-12-30 00:00", periods=300, freq=name))
    keep = np.random.default_rng(3).random(300) > 0.33
    assert str(infer_frequency(times[keep])) == name
    assert str(infer_frequency(times)) == name


def test_infer_frequency__equals_months__on_the_fifteenth():
    times = nanoseconds(pd.date_range("2020-01-01", periods=30, freq="MS") + pd.Timedelta("14D9h"))
    frequency = infer_frequency(times)
    assert frequency == Frequency(1, "MS")
    assert pd.Timestamp(future_timestamps(times[-1], frequency, 1)[0]) == pd.Timestamp("2022-07-15 09:00")


def test_infer_frequency__never_counts_steps_between_series():
    hour = 3_600_000_000_000
    one = np.arange(4) * hour
    several = np.concatenate([one, one + 10**17, one - 10**17, [5 * hour]])
    assert str(infer_frequency(several, np.array([0, 4, 8, 12]))) == "h"


def test_infer_frequency__equals_days__one_working_week_only():
    assert str(infer_frequency(nanoseconds(pd.date_range("2024-01-01", periods=5)))) == "D"
    assert str(infer_frequency(nanoseconds(pd.bdate_range("2024-01-01", periods=6)))) == "B"


def test_infer_frequency__equals_the_step_of_integers():
    assert infer_frequency(np.array([3, 8, 13, 23]), integers=True) == Frequency(5)
    assert infer_frequency(np.array([3]), integers=True) == Frequency(1)


def test_infer_frequency__rejects_single_rows():
    with pytest.raises(DataError, match="give frequency="):
        infer_frequency(np.array([0, 5]), np.array([0, 1]))
