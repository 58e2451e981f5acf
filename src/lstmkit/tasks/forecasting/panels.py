"""What a plot of forecasts shows: the end of each history and what follows it."""

from typing import Any

import numpy as np

from lstmkit.features import SeriesArrays, future_timestamps
from lstmkit.plots import ForecastPanel
from lstmkit.runtime import ForecastModel
from lstmkit.runtime.forecast import take_answers

_MOST_PANELS = 6
# The part of the history that is drawn, in horizons and in seasons, and never less than so many rows.
_HORIZONS, _SEASONS, _LEAST = 4, 4, 60


def forecast_panels(
    model: ForecastModel, series: SeriesArrays, level: tuple[float, ...], steps: int, hidden: int = 0
) -> list[ForecastPanel]:
    """Panels of the first series, each with its forecast.

    Args:
        model: The forecaster.
        series: History, and rows of known covariates after it.
        level: Coverages of the intervals in per cent.
        steps: Steps to draw, at most the horizon.
        hidden: Rows at the end of each series that are not seen, but drawn as what came.
    """
    config = model.config
    past = series.until_last_value()
    past = past.head(past.lengths - hidden)
    index = np.flatnonzero(past.lengths > 0)[:_MOST_PANELS]
    columns = model.forecast_columns(model.quantiles(series, index, past.stops[index])[:, :steps], level)
    answers = take_answers(config, series, index, past.stops[index])[:, :steps]
    shown = max(_HORIZONS * steps, min(_SEASONS * config.season, config.history), _LEAST)
    return [
        ForecastPanel(
            title=str(past.ids[place]),
            past_times=_times(series, past.times(place)[-shown:]),
            past=past.target(place)[-shown:],
            times=_times(series, future_timestamps(int(past.times(place)[-1]), series.frequency, steps)),
            forecast=columns["lstm"][row],
            intervals={each: (columns[f"lstm-lo-{each:g}"][row], columns[f"lstm-hi-{each:g}"][row]) for each in level},
            answer=answers[row] if hidden else None,
        )
        for row, place in enumerate(index)
    ]


def _times(series: SeriesArrays, stamps: Any) -> Any:
    return stamps if series.frequency.is_integer else stamps.astype("M8[ns]")
