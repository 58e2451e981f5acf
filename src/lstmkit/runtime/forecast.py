"""Forecasting without torch: windows of a history in, quantiles of the future out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.features import SeriesArrays, future_timestamps, parse_frequency
from lstmkit.runtime.forecast_config import ForecastConfig
from lstmkit.runtime.forecast_inputs import read_covariates, read_static, read_target, read_timestamps
from lstmkit.runtime.forecast_stream import ForecastStream
from lstmkit.runtime.forecast_windows import make_windows
from lstmkit.runtime.forecast_windows import take_answers as take_answers
from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import Document
from lstmkit.runtime.stage_shapes import BATCH, Shape, elements
from lstmkit.spec import ModelFileError, OptionError, ShapeError

Array = NDArray[Any]
Integers = NDArray[np.int64]

# Windows that are predicted together: enough to keep the matrix products busy, small enough for the cache,
# and fewer where one window is large.
_BATCH, _ELEMENTS_TOGETHER = 1024, 2**25


def mean_weights(quantiles: tuple[float, ...]) -> NDArray[np.float64]:
    """Weights with which quantiles average to an estimate of the mean: the probability that each stands for.

    Example:
        >>> mean_weights((0.1, 0.5, 0.9)).round(3).tolist()
        [0.3, 0.4, 0.3]
    """
    levels = np.asarray(quantiles)
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    return np.diff(edges)


class ForecastModel(Model):
    """A trained forecaster as a file holds it; NumPy only.

    Raises:
        ModelFileError: the document does not describe a forecaster.
    """

    def __init__(self, document: Document, weights: Mapping[str, Array]) -> None:
        self.config = ForecastConfig.from_dict(document.get("forecast"))
        super().__init__(document, weights)
        config = self.config
        if self.shapes[self.answer] != (BATCH, config.horizon, len(config.quantiles)):
            raise ModelFileError("the model file is damaged: its last stage does not answer with quantiles")
        largest = max(elements(shape) for shape in self.shapes.values())
        self._batch = max(1, min(_BATCH, _ELEMENTS_TOGETHER // largest))

    def input_shapes(self) -> dict[str, Shape]:
        """The windows that :func:`make_windows` gathers."""
        config = self.config
        past, known = len(config.known) + len(config.observed), len(config.known)
        tokens = config.past_tokens + config.future_tokens
        shapes = {
            "target": (BATCH, config.history),
            "history": (BATCH, config.history, past),
            "future": (BATCH, config.horizon, known),
            "static": (BATCH, len(config.static)),
            "calendar": (BATCH, tokens, len(config.calendar)),
        }
        return {name: shape for name, shape in shapes.items() if shape[-1]}

    @property
    def models_prices(self) -> bool:
        """Whether the target must be above 0, because the model works on its logarithm."""
        return any(stage.kind == "logarithm" for stage in self.stages)

    def quantiles(self, series: SeriesArrays, index: Integers, origins: Integers) -> Array:
        """Quantiles of every forecast that starts at the given rows, in the user's units.

        Shape:
            - index, origins: ``(B,)``; result: ``(B, H, Q)`` float64
        """
        config = self.config
        result = np.empty((len(origins), config.horizon, len(config.quantiles)))
        for part in _parts(len(origins), self._batch):
            windows = make_windows(config, series, index[part], origins[part])
            result[part] = self.run(windows)[self.answer]
        return result

    def forecast_columns(self, quantiles: Array, level: Sequence[float] = ()) -> dict[str, Array]:
        """Point forecast and interval bounds: ``lstm``, ``lstm-lo-80``, ``lstm-hi-80``, ...

        The point forecast is the mean of the predictive distribution, estimated from its quantiles.

        Args:
            quantiles: ``(..., Q)`` as :meth:`quantiles` gives them.
            level: Coverage of each interval in per cent.

        Raises:
            OptionError: a level outside what the model has learned.
        """
        if np.ndim(level) != 1:
            raise OptionError(f"level is a list of coverages, such as [80, 95], not {level!r}")
        columns = {"lstm": quantiles @ mean_weights(self.config.quantiles)}
        for coverage in level:
            low = (1 - check_level(self.config, coverage) / 100) / 2
            columns[f"lstm-lo-{coverage:g}"] = self._at_level(quantiles, low)
            columns[f"lstm-hi-{coverage:g}"] = self._at_level(quantiles, 1 - low)
        return columns

    def _at_level(self, quantiles: Array, level: float) -> Array:
        """The quantile of any level between the outermost ones, linear between neighbours."""
        levels = np.asarray(self.config.quantiles)
        place = np.interp(level, levels, np.arange(len(levels)))
        below = min(int(place), len(levels) - 2)
        part = place - below
        return quantiles[..., below] * (1 - part) + quantiles[..., below + 1] * part

    def predict(
        self,
        y: ArrayLike,
        ds: ArrayLike | None = None,
        *,
        known: ArrayLike | None = None,
        observed: ArrayLike | None = None,
        static: ArrayLike | None = None,
        level: Sequence[float] = (),
    ) -> dict[str, Array]:
        """Forecast what follows one series.

        Args:
            y: The history; NaN where a value is missing. Only the last ``config.history`` rows count.
            ds: Timestamps, one step apart; needed where the model uses the calendar.
            known: Known covariates of the history and of the horizon after it.
            observed: Observed covariates of the history.
            static: Static covariates.
            level: Coverages of the intervals, in per cent.

        Shape:
            - y, ds: ``(T,)``; known: ``(T + H, K)``; observed: ``(T, M)``; static: ``(S,)``
            - each column of the result: ``(H,)``

        Raises:
            ShapeError: a covariate or the timestamps are missing or of another size.
            DataError: timestamps that are not one step apart, or something that is not a number.
            OptionError: a level outside what the model has learned.
        """
        series, origin = self._one_series(y, ds, known, observed, static)
        quantiles = self.quantiles(series, np.zeros(1, np.int64), np.array([origin]))
        return self.forecast_columns(quantiles[0], level)

    def stream(self, static: ArrayLike | None = None) -> ForecastStream:
        """A stream with an empty history."""
        return ForecastStream(self, static)

    def _one_series(
        self,
        y: ArrayLike,
        ds: ArrayLike | None,
        known: ArrayLike | None,
        observed: ArrayLike | None,
        static: ArrayLike | None,
    ) -> tuple[SeriesArrays, int]:
        """The arrays of :meth:`predict` as a series whose last rows wait for their forecast."""
        config = self.config
        values = read_target(y, prices=self.models_prices)
        rows, ahead = len(values), config.horizon if config.known else 0
        if not rows:
            raise ShapeError("expected at least one row of history, got none")
        if ds is None and config.calendar:
            raise ShapeError("this model uses the calendar; give the timestamps of the history as ds=")
        frequency = parse_frequency(config.frequency)
        stamps = read_timestamps(ds, rows, frequency)
        series = SeriesArrays(
            values=np.append(values, np.full(ahead, np.nan)),
            starts=np.zeros(1, np.int64),
            stops=np.array([rows + ahead]),
            timestamps=np.append(stamps, future_timestamps(stamps[-1], frequency, ahead)),
            frequency=frequency,
            ids=np.zeros(1, np.int64),
            known=read_covariates("known", known, rows + ahead, config.known),
            observed=_with_rows_after(read_covariates("observed", observed, rows, config.observed), ahead),
            static=read_static(static, config.static),
            known_names=config.known,
            observed_names=config.observed,
            static_names=config.static,
        )
        return series, rows


def _with_rows_after(values: Array, count: int) -> Array:
    return np.concatenate([values, np.full((count, values.shape[1]), np.nan)])


def _parts(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))


def check_level(config: ForecastConfig, coverage: Any) -> float:
    """Refuse an interval that the model cannot give.

    Raises:
        OptionError: the level is not a number between 0 and the widest interval of the model.
    """
    widest = round(100 * (config.quantiles[-1] - config.quantiles[0]), 6)
    if (
        isinstance(coverage, bool)
        or not isinstance(coverage, int | float | np.integer | np.floating)
        or not 0 < coverage <= widest
    ):
        raise OptionError(
            f"a level is a coverage in per cent, above 0 and up to {widest:g} for this model, not {coverage!r}"
        )
    return float(coverage)  # pyright: ignore[reportUnknownArgumentType]
