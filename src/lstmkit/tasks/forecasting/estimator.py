"""The forecaster that people call: a table in, forecasts and honest scores out."""

import os
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np

from lstmkit.data import Layout, Table
from lstmkit.features import SeriesArrays, append_rows, parse_frequency
from lstmkit.plots import ForecastPanel
from lstmkit.runtime import ForecastConfig, ForecastModel, ForecastStream
from lstmkit.runtime.forecast import check_level
from lstmkit.spec import DataError, OptionError
from lstmkit.tasks.estimator import Estimator
from lstmkit.tasks.forecasting.evaluation import CLASSICAL_WINDOWS, Evaluation, evaluate_windows
from lstmkit.tasks.forecasting.forecasts import Forecasts, forecast_each, forecast_frame, join_forecasts
from lstmkit.tasks.forecasting.model import Sizes
from lstmkit.tasks.forecasting.panels import forecast_panels
from lstmkit.tasks.forecasting.tables import (
    Columns,
    check_known_ahead,
    check_positive,
    read_future,
    read_like,
    read_series,
)
from lstmkit.tasks.forecasting.unseen import check_last_rows, last_rows, unseen_windows
from lstmkit.tasks.forecasting.windows import Split, plan_windows, split_after, split_series

LEVELS = (80, 95)
# More windows than these are scored by an even sample, which the evaluation says.
_MOST_WINDOWS = 20_000


class Forecaster(Estimator):
    """Forecast series of a table with an LSTM, with intervals and with scores that cannot flatter.

    The defaults serve hourly, daily, weekly, monthly and counted data alike; usually only ``horizon``
    is given.

    Args:
        horizon: Steps ahead.
        season: Steps of a season; None takes what the frequency suggests (24 for hours, 7 for days,
            52 for weeks, 12 for months, 1 for counters).
        history: Steps of the past that the model sees; None takes 14 seasons.
        frequency: Step between rows, as pandas writes it (``"h"``, ``"D"``, ``"MS"``, ``"15min"``), or a
            whole number for counters; None finds it.
        known: Columns whose future is given when forecasting (prices, holidays, weather forecasts).
        observed: Columns of the past only (other sensors).
        static: Columns that are constant for a series.
        id_column: Tells series apart; a table without it is one series.
        time_column: Datetimes, dates or whole numbers.
        target_column: What to forecast; several names make several series of a wide table.
        returns: The target is a price: model the logarithm of its ratio to past prices.
        hidden_size: Units of the LSTM.
        num_layers: Layers of the LSTM.
        dropout: Part of the LSTM's outputs that is dropped in training.
        max_steps: Training steps.
        batch_size: Windows of a training step.
        learning_rate: Highest learning rate.
        patience: Stop when so many of the ten validations in a row were no better.
        time_limit: Minutes that training may take; None sets no limit.
        checkpoint: A file from which a killed training goes on.
        log: A file to which JSON lines about the training are appended.
        device: ``"cpu"`` or ``"cuda"``; None takes what is there.
        seed: Of the weights and the windows.
        quiet: Print nothing.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> import numpy, pandas
        >>> hours = pandas.date_range("2024-01-01", periods=400, freq="h")
        >>> table = pandas.DataFrame({"ds": hours, "y": numpy.sin(numpy.arange(400) * 2 * numpy.pi / 24)})
        >>> forecaster = Forecaster(horizon=24, max_steps=20, quiet=True).fit(table)
        >>> forecaster.predict(level=[80]).shape
        (24, 4)
    """

    task = "forecast"
    model_type = ForecastModel

    def __init__(
        self,
        horizon: int,
        *,
        season: int | None = None,
        history: int | None = None,
        frequency: str | int | None = None,
        known: Iterable[str] = (),
        observed: Iterable[str] = (),
        static: Iterable[str] = (),
        id_column: str | None = "unique_id",
        time_column: str = "ds",
        target_column: str | Sequence[str] = "y",
        returns: bool = False,
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.3,
        max_steps: int = 1000,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        patience: int | None = 3,
        time_limit: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        log: str | os.PathLike[str] | None = None,
        device: str | None = None,
        seed: int = 0,
        quiet: bool = False,
    ) -> None:
        _check_counts(horizon=horizon, batch_size=batch_size, hidden_size=hidden_size, num_layers=num_layers)
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise OptionError(f"dropout must be a number from 0 to below 1, not {dropout!r}")
        self.horizon, self.season, self.history, self.returns = horizon, season, history, returns
        self.columns = Columns.of(id_column, time_column, target_column, known, observed, static, frequency)
        self.sizes = Sizes(hidden_size=hidden_size, num_layers=num_layers, dropout=dropout)
        self.batch_size = batch_size
        super().__init__(
            {
                "max_steps": max_steps,
                "learning_rate": learning_rate,
                "patience": patience,
                "time_limit": time_limit,
                "checkpoint": checkpoint,
                "log": log,
                "device": device,
                "seed": seed,
                "quiet": quiet,
            }
        )
        self._table: Table | None = None

    def fit(self, df: Any, *, validation: Any = None, classical_windows: int = 0) -> Self:
        """Train on a table.

        The last tenth of each series (at least one horizon) is held back: it stops the training,
        calibrates the intervals and gives the scores; a last fifth of the steps then learns from it too.

        Args:
            df: A pandas, Polars or Arrow table, or the path of a CSV or Parquet file; or a list of these, where
                later ones continue earlier ones and tables without ids are series called like their files.
            validation: Rows to hold back of each series, 0 for none; or a table of the rows that follow
                ``df``, which are then never learned from.
            classical_windows: Held-out windows on which AutoETS is fitted for comparison.

        Raises:
            DataError: the table cannot be learned from.
            MissingExtraError: torch or another package of the extra ``forecast`` is missing.
        """
        table = read_series(df, self.columns)
        series = table.series.until_last_value()
        if validation is None or isinstance(validation, int):
            self._fit_series(series, split_series(series, self.horizon, validation), classical_windows)
        else:
            later = read_like(validation, self.columns, series.frequency, "the table before it has")
            table = replace(table, series=append_rows(series, later.series))
            split = split_after(table.series.until_last_value(), series, self.horizon)
            if not len(split.judged):
                raise DataError(f"the validation table has no {self.horizon} rows that follow those that train")
            self._fit_series(split.whole, split, classical_windows, learn_from_all=False)
        self._table = table
        return self

    def _fit_series(
        self, series: SeriesArrays, split: Split, classical_windows: int = 0, *, learn_from_all: bool = True
    ) -> None:
        from lstmkit.tasks.forecasting.fitting import Recipe, fit_model
        from lstmkit.training import TrainingConfig

        if self.returns:
            check_positive(series)
        config = plan_windows(split.training, self.horizon, self.season, self.history)
        recipe = Recipe(
            config=config,
            sizes=self.sizes,
            training=TrainingConfig(weight_decay=0.01, averaging=0.99, **self.training),
            batch_size=self.batch_size,
            returns=self.returns,
            learn_from_all=learn_from_all,
            classical_windows=classical_windows,
            document=self._document(config, series),
        )
        self._model = fit_model(recipe, split)

    def predict(
        self, df: Any = None, h: int | None = None, level: Sequence[float] = LEVELS, *, future: Any = None
    ) -> Any:
        """Forecast what follows the last value of each series.

        Series that were not in training are forecast as well. Rows of ``df`` after the last value of a
        series may hold the known covariates of the horizon, or ``future`` does.

        Args:
            df: The history, as in :meth:`fit`; None continues the table that was trained on.
            h: Steps, at most the horizon; None is the horizon.
            level: Coverage of each interval in per cent; empty for the point forecast alone.
            future: A table with id, time and the known covariates of the rows to be forecast.

        Returns:
            A table of the kind that came in, with the columns ``lstm``, ``lstm-lo-80``, ``lstm-hi-80``, ...

        Raises:
            DataError: a series is empty, or a known covariate is missing in the horizon.
            OptionError: ``h`` or ``level`` are beyond the model.
        """
        steps, level = self._steps(h), self._levels(level)
        layout, series = self._with_future(df, future, steps)
        return forecast_frame(layout, forecast_each(self.model, series, series.until_last_value().stops, steps, level))

    def panels(
        self,
        df: Any = None,
        h: int | None = None,
        level: Sequence[float] = LEVELS,
        *,
        future: Any = None,
        hidden: int = 0,
    ) -> list[ForecastPanel]:
        """What :func:`lstmkit.plots.draw_forecasts` draws; arguments as in :meth:`predict`.

        With ``hidden``, so many rows at the end of each series are not seen, but drawn as what came.
        """
        steps, level = self._steps(h), self._levels(level)
        _, series = self._with_future(df, future, steps)
        return forecast_panels(self.model, series, level, steps, hidden)

    def _with_future(self, df: Any, future: Any, steps: int) -> tuple[Layout, SeriesArrays]:
        """The table's series, with the known covariates of the horizon behind them."""
        table = self._history(df)
        series = table.series
        if future is not None:
            series = append_rows(series.until_last_value(), read_future(future, self.columns, series))
        check_known_ahead(self.model.config, series, series.until_last_value().stops, steps)
        return table.layout, series

    def evaluate(
        self, df: Any = None, *, classical_windows: int = CLASSICAL_WINDOWS, max_windows: int = _MOST_WINDOWS
    ) -> Evaluation:
        """Score the model beside persistence, the seasonal naive forecast and AutoETS.

        Every window counts whose whole horizon lies after the rows that the model was trained on; its
        history may reach back. If there is none, the last rows are scored and ``trained_on`` says so.

        Args:
            df: History and what came after it; None is the table that was trained on.
            classical_windows: Windows on which AutoETS is fitted; 0 leaves it out.
            max_windows: With more windows than these, an even sample of them is scored.

        Raises:
            DataError: no series is long enough for one window.
        """
        _check_counts(max_windows=max_windows)
        windows = unseen_windows(self.model, self._history(df), max_windows)
        return evaluate_windows(self.model, windows, classical=classical_windows)

    def cross_validation(
        self,
        df: Any,
        n_windows: int = 1,
        step_size: int | None = None,
        refit: bool | int = False,
        level: Sequence[float] = LEVELS,
    ) -> Any:
        """Forecast the last windows of each series as if they had not happened yet.

        Args:
            df: A table as in :meth:`fit`.
            n_windows: How many windows.
            step_size: Steps between them; None is the horizon.
            refit: Train anew before every window (True), before every k-th (k), or once before the first.
            level: As in :meth:`predict`.

        Returns:
            A table with the columns ``cutoff`` (the last row seen), ``y``, ``lstm`` and the intervals.

        Raises:
            DataError: a series is too short for so many windows.
        """
        step_size = self.horizon if step_size is None else step_size
        _check_counts(n_windows=n_windows, step_size=step_size, refit=int(refit) or 1)
        table = read_series(df, self.columns)
        series = table.series.until_last_value()
        every = int(refit) if refit else n_windows
        fold, folds = copy(self), list[Forecasts]()
        fold.training = {**self.training, "checkpoint": None}
        for number in range(n_windows):
            past = series.head(series.lengths - self.horizon - (n_windows - 1 - number) * step_size)
            _check_lengths(past, n_windows, self.horizon)
            if number % every == 0:
                fold._fit_series(past, split_series(past, self.horizon, None))
                if fold.interrupted:
                    raise KeyboardInterrupt
            levels = fold._levels(level)
            folds.append(forecast_each(fold.model, series, past.stops, self.horizon, levels, answers=True))
        return forecast_frame(table.layout, join_forecasts(folds), cutoffs=True)

    def stream(self, static: Any = None) -> ForecastStream:
        """A stream that starts without history; see :class:`lstmkit.runtime.ForecastStream`."""
        return self.model.stream(static)

    @classmethod
    def _restore(cls, model: ForecastModel) -> Self:
        check_last_rows(model.document.get("trained_until", {}))
        columns = Columns.from_dict(model.document.get("columns"), model.config)
        return cls(
            model.config.horizon,
            season=model.config.season,
            history=model.config.history,
            frequency=columns.frequency,
            known=columns.known,
            observed=columns.observed,
            static=columns.static,
            id_column=columns.id_column,
            time_column=columns.time_column,
            target_column=columns.target_column,
            returns=any(stage.kind == "logarithm" for stage in model.stages),
        )

    def _document(self, config: ForecastConfig, series: SeriesArrays) -> dict[str, Any]:
        """What the model file says beside stages and weights."""
        return {
            "forecast": config.to_dict(),
            "columns": self.columns.to_dict(),
            "trained_until": last_rows(series),
        }

    def _history(self, df: Any) -> Table:
        """The table to work on, of the frequency that the model knows."""
        if df is None:
            if self._table is None:
                raise DataError("a loaded model holds no history; give the table that is to be continued")
            return self._table
        table = read_like(df, self.columns, parse_frequency(self.model.config.frequency))
        if self.returns:
            check_positive(table.series)
        return table

    def _steps(self, h: int | None) -> int:
        horizon = self.model.config.horizon
        if h is None:
            return horizon
        _check_counts(h=h)
        if h > horizon:
            raise OptionError(f"this model forecasts up to {horizon} steps, not {h}; train one with horizon={h}")
        return h

    def _levels(self, level: float | Sequence[float]) -> tuple[float, ...]:
        given = (level,) if isinstance(level, int | float) else tuple(level)
        return tuple(check_level(self.model.config, coverage) for coverage in given)


def _check_lengths(past: SeriesArrays, n_windows: int, horizon: int) -> None:
    if (past.lengths < 1).any():
        short = past.ids[np.argmin(past.lengths)]
        raise DataError(f"series {short!r} is too short for {n_windows} windows of {horizon} steps")


def _check_counts(**counts: object) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise OptionError(f"{name} must be a whole number of at least 1, not {value!r}")
