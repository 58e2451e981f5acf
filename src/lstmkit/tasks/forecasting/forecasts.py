"""Forecasts of many series, row by row, on their way to a table."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstmkit.data import Layout, result_frame
from lstmkit.features import SeriesArrays, future_timestamps
from lstmkit.runtime import ForecastModel
from lstmkit.runtime.forecast import take_answers


class Forecasts(NamedTuple):
    """Forecasts of several series, row by row."""

    ids: NDArray[Any]
    timestamps: NDArray[np.int64]
    cutoffs: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]


def forecast_each(
    model: ForecastModel,
    series: SeriesArrays,
    origins: NDArray[np.int64],
    steps: int,
    level: Sequence[float],
    *,
    answers: bool = False,
) -> Forecasts:
    """One forecast for each series; with ``answers``, what came stands beside it as ``y``."""
    index = np.arange(len(series))
    columns = model.forecast_columns(model.quantiles(series, index, origins)[:, :steps], level)
    if answers:
        columns = {"y": take_answers(model.config, series, index, origins)[:, :steps], **columns}
    cutoffs = series.timestamps[origins - 1]
    return Forecasts(
        ids=np.repeat(series.ids, steps),
        timestamps=future_timestamps(cutoffs, series.frequency, steps).ravel(),
        cutoffs=np.repeat(cutoffs, steps),
        columns={name: values.ravel() for name, values in columns.items()},
    )


def join_forecasts(folds: list[Forecasts]) -> Forecasts:
    """The forecasts of all cutoffs under each other."""
    return Forecasts(
        ids=np.concatenate([fold.ids for fold in folds]),
        timestamps=np.concatenate([fold.timestamps for fold in folds]),
        cutoffs=np.concatenate([fold.cutoffs for fold in folds]),
        columns={name: np.concatenate([fold.columns[name] for fold in folds]) for name in folds[0].columns},
    )


def forecast_frame(layout: Layout, forecasts: Forecasts, *, cutoffs: bool = False) -> Any:
    """A table of the owner's kind."""
    ids, timestamps, last, columns = forecasts
    return result_frame(ids, timestamps, columns, layout, cutoffs=last if cutoffs else None)
