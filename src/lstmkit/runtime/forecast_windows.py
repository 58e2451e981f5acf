"""From series to the inputs of a forecasting model; nothing is read beyond an origin but what is known ahead."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import SeriesArrays, calendar_features, calendar_names, join, split, take_rows
from lstmkit.runtime.forecast_config import ForecastConfig

Array = NDArray[Any]
Integers = NDArray[np.int64]


def make_windows(config: ForecastConfig, series: SeriesArrays, index: Integers, origins: Integers) -> dict[str, Array]:
    """The model's inputs for forecasts that start at the given rows.

    Args:
        config: What the model expects.
        series: Where the rows are; covariates known ahead are read beyond the origin, within the series.
        index: Series of each window.
        origins: Row at which each forecast starts; the row after the last one seen.

    Shape:
        - index, origins: ``(B,)``
        - target: ``(B, L)``; history: ``(B, L, F)``; future: ``(B, H, K)``; static: ``(B, S)``;
          calendar: ``(B, tokens, C)``; those that the model does not use are left out
    """
    low, high, first = series.starts[index], series.stops[index], origins - config.history
    windows = {"target": take_rows(series.values, first, config.history, low, high)}
    past: list[Array] = []
    if config.known:
        known = take_rows(series.known, first, config.history + config.horizon, low, high)
        known = _standardise(config, config.known, known)
        past.append(known[:, : config.history])
        windows["future"] = known[:, config.history :]
    if config.observed:
        observed = take_rows(series.observed, first, config.history, low, high)
        past.append(_standardise(config, config.observed, observed))
    if past:
        windows["history"] = np.concatenate(past, axis=-1)
    if config.static:
        windows["static"] = _standardise(config, config.static, series.static[index])
    if config.calendar:
        windows["calendar"] = _token_calendar(config, series, low, origins)
    return windows


def take_answers(config: ForecastConfig, series: SeriesArrays, index: Integers, origins: Integers) -> Array:
    """What came after each origin, ``(B, H)``; NaN where it is missing."""
    return take_rows(series.values, origins, config.horizon, series.starts[index], series.stops[index])


def _standardise(config: ForecastConfig, names: tuple[str, ...], values: Array) -> Array:
    """Scale covariates by the statistics of the training part; a missing one becomes its mean."""
    centres = np.array([config.centres[name] for name in names], float)
    spreads = np.array([config.spreads[name] for name in names], float)
    return np.nan_to_num((values - centres) / spreads, posinf=0.0, neginf=0.0).astype(np.float32)


def _token_calendar(config: ForecastConfig, series: SeriesArrays, low: Integers, origins: Integers) -> Array:
    """Calendar columns of the first step of each token, past and future, ``(B, tokens, C)``."""
    frequency = series.frequency
    known_row = np.maximum(origins - 1, low)
    position, phase = split(series.timestamps[known_row], frequency)
    ahead = np.arange(-config.past_tokens, config.future_tokens) * config.patch
    position = (position + (origins - known_row))[:, None] + ahead
    names = calendar_names(frequency)
    columns = [names.index(name) for name in config.calendar]
    return calendar_features(join(position, phase[:, None], frequency), frequency)[..., columns]
