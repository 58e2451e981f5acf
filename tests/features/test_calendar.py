import numpy as np
import pandas as pd
import pytest

from lstmkit.features import calendar_cycles, calendar_features, calendar_names, parse_frequency


def pandas_phases(index):
    """An independent account of every cycle."""
    seconds = index.hour * 3600 + index.minute * 60 + index.second
    return {
        "minute": index.second / 60,
        "hour": (index.minute * 60 + index.second) / 3600,
        "day": seconds / 86400,
        "week": index.dayofweek / 7,
        "year": (index.dayofyear - 1) / np.where(index.is_leap_year, 366, 365),
        "month": (index.month - 1) / 12,
    }


@pytest.mark.parametrize(
    ("name", "cycles"),
    [
        ("7s", ("minute", "hour", "day", "week", "year")),
        ("15min", ("hour", "day", "week", "year")),
        ("h", ("day", "week", "year")),
        ("D", ("week", "year")),
        ("B", ("week", "year")),
        ("W-TUE", ("year",)),
        ("MS", ("month",)),
        ("QE", ("month",)),
        ("YE", ()),
    ],
)
def test_calendar_features__matches_pandas__from_1900_to_2200(name, cycles):
    first, last = (pd.Timestamp(day).value for day in ("1900-01-01", "2200-12-31"))
    index = pd.DatetimeIndex(np.random.default_rng(1).integers(first, last, 20_011))
    index = index.union(
        pd.DatetimeIndex(["1900-02-28", "1900-03-01", "2000-02-29", "2100-03-01", "2024-12-31 23:59:59"])
    )
    index = index.floor("s")
    frequency = parse_frequency(name)
    assert calendar_cycles(frequency) == cycles
    phases = pandas_phases(index)
    waves = [wave(2 * np.pi * np.asarray(phases[cycle])) for cycle in cycles for wave in (np.sin, np.cos)]
    expected = np.stack(waves, -1) if waves else np.empty((len(index), 0))
    result = calendar_features(index.asi8, frequency, np.float64)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)
    assert len(calendar_names(frequency)) == result.shape[-1]


def test_calendar_features__preserves_shape():
    times = pd.date_range("2024-02-28 23:00", periods=15, freq="h").asi8.reshape(3, 5)
    flat = calendar_features(times.ravel(), parse_frequency("h"))
    result = calendar_features(times, parse_frequency("h"))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, flat.reshape(3, 5, 6))


def test_calendar_features__equals_nothing__integers():
    assert calendar_features(np.arange(4), parse_frequency(1)).shape == (4, 0)
