import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.features import Origins, take_rows

bounds = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5)


@given(first=st.lists(st.integers(-12, 20), min_size=1, max_size=5), steps=st.integers(1, 9), wide=st.booleans())
def test_take_rows__matches_naive_loop(first, steps, wide):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(11, 3) if wide else 11)
    low = rng.integers(0, 11, len(first))
    high = np.minimum(11, low + rng.integers(0, 6, len(first)))
    taken = take_rows(values, np.array(first), steps, low, high)
    assert taken.shape == (len(first), steps, *values.shape[1:])
    for window, start in enumerate(first):
        for step in range(steps):
            row = start + step
            expected = values[row] if low[window] <= row < high[window] else np.full(values.shape[1:], np.nan)
            np.testing.assert_array_equal(taken[window, step], expected)


def test_take_rows__never_writes_to_values():
    values = np.arange(5.0)
    take_rows(values, np.array([-2, 3]), 4, np.array([0, 0]), np.array([5, 5]))[:] = 7
    np.testing.assert_array_equal(values, np.arange(5.0))


def test_take_rows__equals_nan__where_there_are_no_rows():
    none = np.zeros(1, np.int64)
    assert np.isnan(take_rows(np.empty((0, 2)), none, 3, none, none)).all()


@given(pairs=bounds)
def test_origins__match_naive_list(pairs):
    first, stops = (np.array(side) for side in zip(*pairs, strict=True))
    origins = Origins(first, stops)
    expected = [(series, row) for series, (low, high) in enumerate(pairs) for row in range(low, high)]
    assert len(origins) == len(expected)
    index, rows = origins.all()
    assert list(zip(index.tolist(), rows.tolist(), strict=True)) == expected
    for number, pair in enumerate(expected):
        assert tuple(int(part[0]) for part in origins.at(np.array([number]))) == pair


@given(pairs=bounds, count=st.integers(1, 9))
def test_origins_sample__is_spread_over_all(pairs, count):
    first, stops = (np.array(side) for side in zip(*pairs, strict=True))
    origins = Origins(first, stops)
    if not len(origins):
        return
    index, rows = origins.sample(count)
    everything = list(zip(*(part.tolist() for part in origins.all()), strict=True))
    places = [everything.index(pair) for pair in zip(index.tolist(), rows.tolist(), strict=True)]
    assert len(places) == min(count, len(everything))
    assert np.diff(places, prepend=places[0]).max(initial=0) <= -(-len(everything) // max(count - 1, 1))


def test_origins__equal_nothing__without_series():
    assert len(Origins(np.empty(0, np.int64), np.empty(0, np.int64))) == 0
