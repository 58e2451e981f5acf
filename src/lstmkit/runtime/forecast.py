"""Forecasting without torch: windows of a history in, quantiles of the future out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.features import (
    SeriesArrays,
    calendar_features,
    calendar_names,
    future_timestamps,
    join,
    parse_frequency,
    split,
    take_rows,
)
from lstmkit.runtime.forecast_stream import ForecastStream, as_timestamps, check_covariates
from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import Document
from lstmkit.spec import ModelFileError, OptionError, ShapeError

Array = NDArray[Any]
Integers = NDArray[np.int64]

# Windows that are predicted together: enough to keep the matrix products busy, small enough for the cache.
_BATCH = 1024


@dataclass(frozen=True)
class ForecastConfig:
    """What a forecasting model needs to know about its windows; stored in the model file.

    Args:
        horizon: Steps ahead, ``H``.
        history: Steps of the past that the model sees, ``L``; a multiple of ``patch``.
        season: Steps of one season, ``S``.
        patch: Steps that make one token of the LSTM, ``P``.
        quantiles: Levels of the quantiles that are learned, ascending, with 0.5 among them; ``Q``.
        frequency: Step between rows, as pandas writes it, or a whole number.
        calendar: Calendar columns in use, as :func:`lstmkit.features.calendar_names`.
        known: Names of covariates whose future is given.
        observed: Names of covariates of the past only.
        static: Names of covariates of a whole series.
        centres: Mean of each covariate over the training part, by name.
        spreads: Standard deviation of each covariate over the training part, by name.
    """

    horizon: int
    history: int
    season: int
    patch: int
    quantiles: tuple[float, ...]
    frequency: str | int
    calendar: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    centres: dict[str, float] = field(default_factory=dict[str, float])
    spreads: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def past_tokens(self) -> int:
        """Patches of the history."""
        return self.history // self.patch

    @property
    def future_tokens(self) -> int:
        """Patches of the horizon, the last one possibly in part."""
        return -(-self.horizon // self.patch)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Any) -> "ForecastConfig":
        """Read the configuration from an untrusted document.

        Raises:
            ModelFileError: it is not one.
        """
        try:
            known = {entry.name for entry in fields(cls)}
            values = {name: tuple(v) if isinstance(v, list) else v for name, v in document.items() if name in known}
            config = cls(**values)
            sizes = (config.horizon, config.history, config.season, config.patch)
            parse_frequency(config.frequency)
            levels = np.asarray(config.quantiles, float)
            if not all(isinstance(size, int) and 0 < size < 10**6 for size in sizes) or config.history % config.patch:
                raise ValueError
            if not (len(levels) and levels[0] > 0 and levels[-1] < 1 and (np.diff(levels) > 0).all()):
                raise ValueError
        except (TypeError, ValueError, AttributeError):
            raise ModelFileError("the model file is damaged: its description of the forecast makes no sense") from None
        return config


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
    windows = {"target": take_rows(series.values, first, config.history, low, np.minimum(high, origins))}
    past: list[Array] = []
    if config.known:
        known = take_rows(series.known, first, config.history + config.horizon, low, high)
        known = _standardise(config, config.known, known)
        past.append(known[:, : config.history])
        windows["future"] = known[:, config.history :]
    if config.observed:
        observed = take_rows(series.observed, first, config.history, low, np.minimum(high, origins))
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
    centres = np.array([config.centres[name] for name in names])
    spreads = np.array([config.spreads[name] for name in names])
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
        super().__init__(document, weights)
        self.config = ForecastConfig.from_dict(document.get("forecast"))

    @cached_property
    def _answer(self) -> str:
        return self.stages[-1].name

    def quantiles(self, series: SeriesArrays, index: Integers, origins: Integers) -> Array:
        """Quantiles of every forecast that starts at the given rows, in the user's units.

        Shape:
            - index, origins: ``(B,)``; result: ``(B, H, Q)`` float64
        """
        config = self.config
        result = np.empty((len(origins), config.horizon, len(config.quantiles)))
        for part in _parts(len(origins)):
            windows = make_windows(config, series, index[part], origins[part])
            result[part] = self.run(windows)[self._answer]
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
            ds: Timestamps; needed where the model uses the calendar.
            known: Known covariates of the history and of the horizon after it.
            observed: Observed covariates of the history.
            static: Static covariates.
            level: Coverages of the intervals, in per cent.

        Shape:
            - y, ds: ``(T,)``; known: ``(T + H, K)``; observed: ``(T, M)``; static: ``(S,)``
            - each column of the result: ``(H,)``

        Raises:
            ShapeError: a covariate or the timestamps are missing or of another size.
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
        values = np.atleast_1d(np.asarray(y, np.float64))
        rows, ahead = len(values), config.horizon if config.known else 0
        if ds is None and config.calendar:
            raise ShapeError("this model uses the calendar; give the timestamps of the history as ds=")
        stamps = np.arange(rows, dtype=np.int64) if ds is None else as_timestamps(ds)
        if values.ndim != 1 or not rows or len(stamps) != rows:
            raise ShapeError(f"expected y of shape (T,) with as many timestamps, got {values.shape} and {stamps.shape}")
        frequency = parse_frequency(config.frequency)
        series = SeriesArrays(
            values=np.append(values, np.full(ahead, np.nan)),
            starts=np.zeros(1, np.int64),
            stops=np.array([rows + ahead]),
            timestamps=np.append(stamps, future_timestamps(int(stamps[-1]), frequency, ahead)),
            frequency=frequency,
            ids=np.zeros(1, np.int64),
            known=check_covariates("known", known, rows + ahead, config.known),
            observed=_with_rows_after(check_covariates("observed", observed, rows, config.observed), ahead),
            static=check_covariates("static", None if static is None else np.atleast_2d(static), 1, config.static),
            known_names=config.known,
            observed_names=config.observed,
            static_names=config.static,
        )
        return series, rows


def check_level(config: ForecastConfig, coverage: float) -> float:
    """Refuse an interval that the model cannot give.

    Raises:
        OptionError: the level is not a number between 0 and the widest interval of the model.
    """
    widest = round(100 * (config.quantiles[-1] - config.quantiles[0]), 6)
    if isinstance(coverage, bool) or not isinstance(coverage, int | float) or not 0 < coverage <= widest:
        raise OptionError(
            f"a level is a coverage in per cent, above 0 and up to {widest:g} for this model, not {coverage!r}"
        )
    return float(coverage)


def _with_rows_after(values: Array, count: int) -> Array:
    return np.concatenate([values, np.full((count, values.shape[1]), np.nan)])


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _BATCH) for start in range(0, count, _BATCH))
