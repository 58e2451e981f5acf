import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.features import Frequency, SeriesArrays, append_rows, parse_frequency
from lstmkit.spec import DataError

HOUR = 3600 * 10**9


def series(rows, ids, frequency="h", names=("price",), offset=0):
    """Series whose value at hour t is t, and whose covariate is t / 2; ``rows`` holds (first, length) of each."""
    times = [np.arange(first, first + length) for first, length in rows]
    flat = np.concatenate([np.empty(0, np.int64), *times])
    stops = np.cumsum([length for _, length in rows])
    return SeriesArrays(
        values=flat.astype(float),
        starts=stops - [length for _, length in rows],
        stops=stops,
        timestamps=flat * HOUR + offset,
        frequency=parse_frequency(frequency),
        ids=np.array(ids, object),
        known=np.repeat(flat[:, None] / 2, len(names), axis=1),
        known_names=names,
    )


def naive(past, later):
    """Rows by series and time, one at a time."""
    found = {}
    for place, name in enumerate(past.ids):
        found[name] = dict(zip(past.times(place), past.target(place), strict=True))
    for place, name in enumerate(later.ids):
        rows = dict(zip(later.times(place), later.target(place), strict=True))
        own = found.setdefault(name, {})
        end = max(own, default=None)
        own |= {time: value for time, value in rows.items() if end is None or time > end}
    for own in found.values():
        for time in range(min(own, default=0), max(own, default=0), HOUR):
            own.setdefault(time, np.nan)
    return {name: sorted(own.items()) for name, own in found.items()}


spans = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=4)


@given(past=spans, later=spans, order=st.permutations("abcd"))
def test_append__matches_naive_merge(past, later, order):
    one, two = series(past, list("abcd")[: len(past)]), series(later, order[: len(later)])
    joined = append_rows(one, two)
    expected = naive(one, two)
    assert set(joined.ids) == set(expected)
    for place, name in enumerate(joined.ids):
        pairs = expected[name]
        np.testing.assert_array_equal(joined.times(place), [time for time, _ in pairs])
        np.testing.assert_array_equal(joined.target(place), [value for _, value in pairs])
        np.testing.assert_array_equal(joined.known[joined.rows(place), 0], [value / 2 for _, value in pairs])


def test_append__preserves_order_and_static_of_past():
    past = SeriesArrays.from_lists([[1.0, 2.0], [3.0]])
    later = SeriesArrays.from_lists([[0.0, 0.0, 7.0]])
    joined = append_rows(past.select([1, 0]), later)
    assert joined.ids.tolist() == [1, 0]
    assert joined.target(0).tolist() == [3.0]
    assert joined.target(1).tolist() == [1.0, 2.0, 7.0]


def test_append__matches_columns_by_name():
    past = series([(0, 2)], ["a"], names=("price", "holiday"))
    later = series([(2, 2)], ["a"], names=("weather", "holiday"))
    known = append_rows(past, later).known
    np.testing.assert_array_equal(known, [[0, 0], [0.5, 0.5], [np.nan, 1], [np.nan, 1.5]])


def test_append__rejects_rows_between_the_steps():
    with pytest.raises(DataError, match=r"series 'a' lie between the steps of 'h'"):
        append_rows(series([(0, 3)], ["a"]), series([(3, 2)], ["a"], offset=HOUR // 2))


def test_append__rejects_counters_behind_dates():
    with pytest.raises(DataError, match="one table counts its rows and the other has dates"):
        append_rows(series([(0, 3)], ["a"]), SeriesArrays.from_lists([[1.0]], Frequency(1)))


def test_append__rejects_absurd_gap__without_filling_it():
    with pytest.raises(DataError, match=r"steps of 'h' after the earlier ones, too much to fill; check the times"):
        append_rows(series([(0, 3)], ["a"]), series([(10**9 // 400, 2)], ["a"]))
