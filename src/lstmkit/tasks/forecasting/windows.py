"""From series to windows: how long they are, where they may start, which rows train and which judge."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import Origins, SeriesArrays, calendar_cycles, calendar_names
from lstmkit.features.frequency import DAY
from lstmkit.runtime import ForecastConfig
from lstmkit.runtime.forecast import make_windows, take_answers
from lstmkit.runtime.forecast_config import can_scale
from lstmkit.spec import DataError, OptionError
from lstmkit.tasks.forecasting.model import QUANTILES

Integers = NDArray[np.int64]

# The past that a model sees: so many seasons, within a bound on the number of rows.
_SEASONS_SEEN = 14
_LONGEST_HISTORY = 2048
# A patch is one season where that is neither tiny nor huge.
_SHORTEST_PATCH, _LONGEST_PATCH = 6, 48
# The part of each series that judges while training.
_VALIDATION_PART = 0.1
# A calendar cycle is learned from data that shows it so many times, where a window holds fewer than so many.
_CYCLES_SEEN, _CYCLES_IN_WINDOW = 3, 2
_CYCLE_LENGTH = {
    "minute": DAY // 1440,
    "hour": DAY // 24,
    "day": DAY,
    "week": 7 * DAY,
    "year": 365 * DAY,
    "month": 365 * DAY,
}


def plan_windows(series: SeriesArrays, horizon: int, season: int | None, history: int | None) -> ForecastConfig:
    """Choose everything about the windows that was not given.

    Args:
        series: The training part.
        horizon: Steps ahead.
        season: Steps of a season; None takes what the frequency suggests, 1 means no season.
        history: Steps that the model sees, rounded up to whole patches; None takes 14 seasons or patches.

    Raises:
        OptionError: a number that cannot be.
        DataError: no series is long enough to show one forecast.
    """
    _check_count("horizon", horizon)
    longest = int(series.lengths.max(initial=0))
    if season is None:
        season = series.frequency.season_length
        season = season if 2 * season <= longest else 1
    _check_count("season", season)
    patch = _patch_length(season)
    unit = math.lcm(season, patch)
    if history is None:
        wanted = max(_SEASONS_SEEN * max(season, patch), 2 * horizon if season == 1 else horizon)
        history = min(wanted, max(_LONGEST_HISTORY, 2 * season), max(longest - horizon, 1))
    _check_count("history", history)
    history = -(-history // unit) * unit
    config = ForecastConfig(
        horizon=horizon,
        history=history,
        season=season,
        patch=patch,
        quantiles=QUANTILES,
        frequency=series.frequency.count if series.frequency.is_integer else str(series.frequency),
        calendar=_calendar(series, history),
        known=series.known_names,
        observed=series.observed_names,
        static=series.static_names,
    )
    if not len(training_origins(config, series)):
        raise DataError(
            f"the longest series has {longest} rows; to learn a horizon of {horizon} a series needs at least "
            f"{horizon + 1}: give more history or a shorter horizon"
        )
    return _with_statistics(config, series)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise OptionError(f"{name} must be a whole number of at least 1, not {value!r}")


def _patch_length(season: int) -> int:
    if season < _SHORTEST_PATCH:
        return season * -(-8 // season)
    if season <= _LONGEST_PATCH:
        return season
    divisors = [size for size in range(8, _LONGEST_PATCH + 1) if season % size == 0]
    return max(divisors, default=season)


def _calendar(series: SeriesArrays, history: int) -> tuple[str, ...]:
    """The calendar columns that tell what the window itself cannot show, and that the data show often enough.

    A window that holds two full cycles shows the phase by itself; the columns would only invite the
    network to learn single days by heart.
    """
    if series.frequency.is_integer or not len(series):
        return ()
    longest = int(np.argmax(series.lengths))
    times = series.times(longest)
    span = int(times[-1] - times[0])
    window = history * span / max(len(times) - 1, 1)
    cycles = [
        name
        for name in calendar_cycles(series.frequency)
        if span >= _CYCLES_SEEN * _CYCLE_LENGTH[name] and window < _CYCLES_IN_WINDOW * _CYCLE_LENGTH[name]
    ]
    return tuple(name for name in calendar_names(series.frequency) if name.rpartition("_")[0] in cycles)


def _with_statistics(config: ForecastConfig, series: SeriesArrays) -> ForecastConfig:
    """Means and spreads of the covariates over the training rows alone; DataError where they cannot be used."""
    inside = np.zeros(len(series.values), bool)
    for start, stop in zip(series.starts, series.stops, strict=True):
        inside[start:stop] = True
    centres: dict[str, float] = {}
    spreads: dict[str, float] = {}
    for names, values in (
        (series.known_names, series.known[inside]),
        (series.observed_names, series.observed[inside]),
        (series.static_names, series.static),
    ):
        for name, column in zip(names, values.T, strict=True):
            present = column[np.isfinite(column)]
            centres[name] = float(present.mean()) if len(present) else 0.0
            spreads[name] = float(present.std()) or 1.0 if len(present) else 1.0
            if not can_scale(centres[name], spreads[name]):
                raise DataError(
                    f"the covariate {name!r} has a mean of {centres[name]:g} and a standard deviation of "
                    f"{spreads[name]:g}, which is too far from ordinary numbers; give it in another unit"
                )
    return replace(config, centres=centres, spreads=spreads)


def least_history(config: ForecastConfig) -> int:
    """Rows that must lie before an origin that is learned from: two seasons, or what one patch holds."""
    return min(max(2 * config.season, config.patch), config.history)


def training_origins(config: ForecastConfig, series: SeriesArrays) -> Origins:
    """Every row from which a whole horizon lies inside the series, with some history before it.

    Where that leaves nothing, because all series are short, one row of history is enough.
    """
    stops = series.stops - config.horizon + 1
    origins = Origins(series.starts + least_history(config), stops)
    return origins if len(origins) else Origins(series.starts + 1, stops)


@dataclass(frozen=True)
class Split:
    """Which rows are learned from and which judge; both see the same flat arrays.

    Args:
        training: Bounds of the rows that may be learned from.
        whole: Bounds of all rows.
        judged: Origins of the validation windows; their history may reach into the training rows.
    """

    training: SeriesArrays
    whole: SeriesArrays
    judged: Origins


def split_series(series: SeriesArrays, horizon: int, validation: int | None) -> Split:
    """Hold back the last rows of each series.

    Args:
        series: All rows.
        horizon: Steps ahead.
        validation: Rows to hold back; None takes a tenth, at least one horizon; 0 holds nothing back.

    Raises:
        OptionError: a negative number, or one that is smaller than the horizon.
    """
    if validation is not None and (validation < 0 or 0 < validation < horizon):
        raise OptionError(f"validation must be 0 or at least the horizon of {horizon}, not {validation}")
    lengths = series.lengths
    held = np.maximum(horizon, (lengths * _VALIDATION_PART).astype(np.int64)) if validation is None else validation
    # A series that would be left with less than two horizons to learn from keeps all its rows.
    held = np.where(lengths - held >= 2 * horizon, held, 0)
    return _split_at(series, lengths - held, horizon)


def split_after(series: SeriesArrays, training: SeriesArrays, horizon: int) -> Split:
    """Hold back the rows that ``series`` has beyond those of ``training``; its series come first and in order."""
    kept = np.zeros(len(series), np.int64)
    kept[: len(training)] = training.lengths
    return _split_at(series, np.minimum(kept, series.lengths), horizon)


def _split_at(series: SeriesArrays, kept: Integers, horizon: int) -> Split:
    training = series.head(kept)
    stops = np.where(kept < series.lengths, series.stops - horizon + 1, training.stops)
    # A series that training has not seen is judged from its second row on.
    return Split(training, series, Origins(np.maximum(training.stops, series.starts + 1), stops))


class Batches:
    """Random windows, batch after batch: ``batches(epoch)`` as the training loop asks for them.

    Args:
        config: The windows.
        series: The rows that may be learned from.
        size: Windows of a batch.
        steps: Batches of an epoch.
        seed: Of the choice of windows, together with the epoch.
        returns: Whether answers are logarithms.
    """

    def __init__(
        self, config: ForecastConfig, series: SeriesArrays, *, size: int, steps: int, seed: int, returns: bool
    ) -> None:
        self.config, self.series, self.size, self.steps, self.seed = config, series, size, steps, seed
        self.origins = training_origins(config, series)
        self.returns = returns

    def __call__(self, epoch: int) -> "_Epoch":
        """The batches of one epoch, the same at every call."""
        return _Epoch(self, np.random.default_rng((self.seed, epoch)))


@dataclass(frozen=True)
class _Epoch:
    batches: Batches
    random: np.random.Generator

    def __len__(self) -> int:
        return self.batches.steps

    def __iter__(self) -> Iterator[dict[str, NDArray[np.floating]]]:
        for _ in range(self.batches.steps):
            numbers = self.random.integers(0, len(self.batches.origins), self.batches.size)
            yield window_batch(self.batches, *self.batches.origins.at(numbers))


def window_batch(batches: Batches, index: Integers, origins: Integers) -> dict[str, NDArray[np.floating]]:
    """The model's inputs and, under ``answer``, what came: ``(B, H)``, NaN where missing."""
    windows = make_windows(batches.config, batches.series, index, origins)
    answer = take_answers(batches.config, batches.series, index, origins)
    windows["answer"] = np.log(answer) if batches.returns else answer
    return windows
