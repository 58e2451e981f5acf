import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.features import Frequency, SeriesArrays
from lstmkit.spec import ShapeError


def hostile(lengths=(5, 3, 8), seed=0):
    """Uneven series with covariates, a missing value inside and missing tails."""
    rng = np.random.default_rng(seed)
    rows, count = sum(lengths), len(lengths)
    stops = np.cumsum(lengths)
    values = rng.normal(size=rows)
    values[1] = np.nan
    return SeriesArrays(
        values,
        stops - lengths,
        stops,
        rng.integers(0, 99, rows),
        Frequency(),
        np.array(["a", "b", "c"][:count], object),
        known=rng.normal(size=(rows, 2)),
        static=rng.normal(size=(count, 1)),
        known_names=("price", "promotion"),
        static_names=("size",),
    )


def test_cut__matches_slices__one_length_per_series():
    series = hostile()
    past, future = series.cut([2, 9, 0])
    for i, length in enumerate([2, 3, 0]):
        np.testing.assert_array_equal(past.target(i), series.target(i)[:length])
        np.testing.assert_array_equal(future.target(i), series.target(i)[length:])
        np.testing.assert_array_equal(future.times(i), series.times(i)[length:])


@given(length=st.integers(0, 12))
def test_cut__matches_slices(length):
    series = hostile()
    for i in range(3):
        whole = series.target(i)
        np.testing.assert_array_equal(series.head(length).target(i), whole[:length])
        np.testing.assert_array_equal(series.cut(length)[1].target(i), whole[length:])


def test_every_cut__never_copies_rows():
    series = hostile()
    for part in (*series.cut(2), series.head(1), series.select([2, 0]), series.until_last_value()):
        assert part.values is series.values
        assert part.known is series.known
        assert part.timestamps is series.timestamps
    assert np.shares_memory(series.target(1), series.values)


def test_select__preserves_what_belongs_to_a_series():
    chosen = hostile().select([2, 0])
    series = hostile()
    assert chosen.ids.tolist() == ["c", "a"]
    np.testing.assert_array_equal(chosen.static, series.static[[2, 0]])
    np.testing.assert_array_equal(chosen.target(0), series.target(2))
    assert chosen.num_rows == 13


def test_until_last_value__matches_a_loop__missing_tails_and_an_all_missing_series():
    values = np.arange(12.0)
    values[[0, 3, 4, 5, 6, 7, 8, 11]] = np.nan
    bounds = np.array([0, 5, 9, 12])
    series = SeriesArrays(values, bounds[:-1], bounds[1:], np.arange(12), Frequency(), np.arange(3))
    assert series.until_last_value().lengths.tolist() == [3, 0, 2]
    assert series.head([0, 4, 1]).until_last_value().lengths.tolist() == [0, 0, 1]


def test_until_last_value__equals_nothing__empty_first_series():
    series = SeriesArrays.from_lists([[1, 2], [3, 4]]).head([0, 2]).until_last_value()
    assert series.lengths.tolist() == [0, 2]


def test_from_lists__equals_its_lists():
    series = SeriesArrays.from_lists([[1, 2, 3], [4.5]], Frequency(1, "D"))
    assert [series.target(i).tolist() for i in range(2)] == [[1, 2, 3], [4.5]]
    assert series.times(0).tolist() == [0, 86_400 * 10**9, 2 * 86_400 * 10**9]
    assert series.times(1).tolist() == [0]


@pytest.mark.parametrize(
    "change",
    [{"known": np.zeros((3, 2))}, {"known_names": ("one",)}, {"ids": np.arange(2)}, {"static": np.zeros((2, 1))}],
)
def test_series_arrays__rejects_lengths_that_differ(change):
    from dataclasses import replace

    with pytest.raises(ShapeError, match="must have shape"):
        replace(hostile(), **change)
