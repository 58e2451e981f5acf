"""What a plot of forecasts shows: the end of each history and what follows it."""

from typing import Any

import numpy as np

from lstmkit.features import SeriesArrays, future_timestamps
from lstmkit.plots import ForecastPanel
from lstmkit.runtime import ForecastModel

_MOST_PANELS = 6
# The part of the history that is drawn, in horizons and in seasons.
_HORIZONS, _SEASONS = 4, 4


def forecast_panels(
    model: ForecastModel, series: SeriesArrays, level: tuple[float, ...], steps: int
) -> list[ForecastPanel]:
    """Panels of the first series, each with its forecast.

    Args:
        model: The forecaster.
        series: History, and rows of known covariates after it.
        level: Coverages of the intervals in per cent.
        steps: Steps to draw, at most the horizon.
    """
    config = model.config
    past = series.until_last_value()
    index = np.arange(min(len(past), _MOST_PANELS))
    columns = model.forecast_columns(model.quantiles(series, index, past.stops[index])[:, :steps], level)
    shown = max(_HORIZONS * steps, min(_SEASONS * config.season, config.history))
    return [
        ForecastPanel(
            title=str(past.ids[place]),
            past_times=_times(series, past.times(place)[-shown:]),
            past=past.target(place)[-shown:],
            times=_times(series, future_timestamps(int(past.times(place)[-1]), series.frequency, steps)),
            forecast=columns["lstm"][place],
            intervals={
                each: (columns[f"lstm-lo-{each:g}"][place], columns[f"lstm-hi-{each:g}"][place]) for each in level
            },
        )
        for place in index
    ]


def _times(series: SeriesArrays, stamps: Any) -> Any:
    return stamps if series.frequency.is_integer else stamps.astype("M8[ns]")
