"""Which rows a model has not learned from, and the windows that may therefore judge it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.data import Layout, Table
from lstmkit.features import Origins, SeriesArrays
from lstmkit.runtime import ForecastModel
from lstmkit.spec import DataError, ModelFileError
from lstmkit.tasks.forecasting.evaluation import Windows
from lstmkit.tasks.forecasting.windows import least_history

# A file names the last row of so many series; beyond that the last row of all stands for each.
_MOST_NAMED = 10_000


def last_rows(series: SeriesArrays) -> dict[str, int]:
    """Until when each series was learned from, as the model file keeps it under ``trained_until``."""
    last = series.timestamps[series.stops - 1]
    if len(series) > _MOST_NAMED:
        return {"": int(last.max())}
    return dict(zip(map(str, series.ids.tolist()), last.tolist(), strict=True))


def check_last_rows(known: Any) -> None:
    """Hold an untrusted document against what :func:`last_rows` gives.

    Raises:
        ModelFileError: it is something else.
    """
    if not isinstance(known, dict) or not all(isinstance(last, int) for last in known.values()):  # pyright: ignore[reportUnknownVariableType]
        raise ModelFileError("the model file is damaged: it does not say until when it was trained")


def unseen_windows(model: ForecastModel, table: Table, most: int) -> Windows:
    """All windows that the model has not learned from; where there are none, the last ones that it has.

    Args:
        model: The forecaster.
        table: History and what came after it.
        most: With more windows than these, an even sample of them.

    Raises:
        DataError: no series is long enough for one window.
    """
    config = model.config
    series = table.series.until_last_value()
    stops = series.stops - config.horizon + 1
    first = series.starts + np.minimum(least_history(config), np.maximum(series.lengths - config.horizon, 1))
    unseen = Origins(np.maximum(first, _first_unseen(model, series, table.layout)), stops)
    tenth = np.maximum(series.lengths // 10, config.horizon) - config.horizon + 1
    origins = unseen if len(unseen) else Origins(np.maximum(first, stops - tenth), stops)
    if not len(origins):
        raise DataError(f"no series is longer than the horizon of {config.horizon}; there is nothing to score")
    return Windows(series, *origins.sample(most), sampled=len(origins) > most, trained_on=not len(unseen))


def _first_unseen(model: ForecastModel, series: SeriesArrays, layout: Layout) -> NDArray[np.int64]:
    """The first row of each series that came after training; its start for a series that was not there."""
    known = model.document.get("trained_until", {})
    # A table without ids may be any of the series, so all of them count.
    other = known.get("") if layout.id_column is not None else max(known.values(), default=None)
    first = series.starts.copy()
    for place, name in enumerate(map(str, series.ids.tolist())):
        last = known.get(name, other)
        if last is not None:
            first[place] += int(np.searchsorted(series.times(place), last, side="right"))
    return first
