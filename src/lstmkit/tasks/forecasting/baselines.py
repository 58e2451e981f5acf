"""What every forecast is held against: persistence, the seasonal naive forecast, and AutoETS."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import SeriesArrays, take_rows
from lstmkit.spec import import_extra

Array = NDArray[Any]
Integers = NDArray[np.int64]

# A classical model sees so many seasons at most; older rows cost much time and change little.
_SEASONS_SEEN = 20
_ROWS_SEEN = 500


def persistence(series: SeriesArrays, index: Integers, origins: Integers, horizon: int) -> Array:
    """The last value that is not missing, repeated; ``(B, H)``."""
    return seasonal_naive(series, index, origins, horizon, 1)


def seasonal_naive(series: SeriesArrays, index: Integers, origins: Integers, horizon: int, season: int) -> Array:
    """The last value seen at the same phase of the season, repeated; ``(B, H)``.

    A missing value is replaced by the one a season before it, so far as five seasons go back; then by the
    last value of any phase.
    """
    low, high = series.starts[index], np.minimum(series.stops[index], origins)
    last = take_rows(series.values, origins - season, season, low, high)
    for back in range(2, 6):
        older = take_rows(series.values, origins - back * season, season, low, high)
        last = np.where(np.isnan(last), older, last)
    last = np.where(np.isnan(last), _last_value(series, index, origins)[:, None], last)
    return last[:, np.arange(horizon) % season]


def _last_value(series: SeriesArrays, index: Integers, origins: Integers) -> Array:
    present = np.where(np.isnan(series.values), -1, np.arange(len(series.values)))
    last = np.maximum.accumulate(present)[origins - 1]
    return np.where(last >= series.starts[index], series.values[last], np.nan)


def auto_ets(series: SeriesArrays, index: Integers, origins: Integers, horizon: int, season: int) -> Array:
    """Exponential smoothing chosen anew for each window by statsforecast; ``(B, H)``.

    It sees the last 20 seasons, at most 500 rows; gaps are filled by linear interpolation. A window on
    which the fit fails gets the seasonal naive forecast.

    Source: Hyndman et al., International Journal of Forecasting 18(3), 2002.
    """
    models = import_extra("statsforecast.models", "forecast")
    result = seasonal_naive(series, index, origins, horizon, season)
    seen = min(_ROWS_SEEN, max(_SEASONS_SEEN * season, 100))
    # ETS with a long season has more states than it can estimate; the package itself stops at 24.
    length = season if 1 < season <= 24 else 1
    for row, (number, origin) in enumerate(zip(index, origins, strict=True)):
        history = series.values[max(int(series.starts[number]), int(origin) - seen) : int(origin)]
        history = _without_gaps(history)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result[row] = models.AutoETS(season_length=length).forecast(history, h=horizon)["mean"]
        except Exception:
            # Whatever a fit in another package dies of, the naive forecast stands.
            continue
    return result


def _without_gaps(values: Array) -> Array:
    present = np.flatnonzero(np.isfinite(values))
    if not len(present):
        return values
    return np.interp(np.arange(present[0], len(values)), present, values[present])
