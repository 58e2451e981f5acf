"""Scores that cannot flatter: every forecast beside persistence, the seasonal naive one and AutoETS."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import SeriesArrays, spread
from lstmkit.runtime.forecast import ForecastConfig, ForecastModel, take_answers
from lstmkit.spec import DataError
from lstmkit.tasks.forecasting import baselines, metrics
from lstmkit.tasks.forecasting.report import evaluation_text

Array = NDArray[Any]
Integers = NDArray[np.int64]

# A classical model is fitted anew for each window; so many are enough to compare with.
CLASSICAL_WINDOWS = 20
# Below these the forecast adds nothing to the last value: by score, and by distance from it.
_NO_SKILL = 0.01
_REPEATS_LAST_VALUE = 0.15


@dataclass(frozen=True)
class Scores:
    """Scores of one method over one set of windows.

    Args:
        method: ``lstm``, ``persistence``, ``seasonal_naive`` or ``auto_ets``.
        windows: How many windows were scored.
        mae: Mean absolute error, in the unit of the data.
        rmse: Root of the mean squared error, in the unit of the data.
        mse: Mean squared error.
        mase: Mean absolute scaled error.
        smape: Symmetric mean absolute percentage error, in per cent.
    """

    method: str
    windows: int
    mae: float
    rmse: float
    mse: float
    mase: float
    smape: float


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        horizon: Steps ahead.
        season: Steps of the season that the seasonal naive forecast repeats.
        series: How many series the windows come from.
        windows: How many windows were scored.
        sampled: Whether the windows are an even sample of those that there are.
        trained_on: Whether the model has seen these rows in training, so that this is no test.
        methods: Scores of the forecast and of each baseline on all windows.
        classical: Scores of AutoETS, and of the others, on a sample of the windows.
        wql: Mean weighted quantile loss of the forecast.
        coverage: Interval level in per cent -> part of the answers inside, in per cent.
        verdict: What the scores mean, in a sentence or two.
    """

    horizon: int
    season: int
    series: int
    windows: int
    sampled: bool
    trained_on: bool
    methods: tuple[Scores, ...]
    classical: tuple[Scores, ...]
    wql: float
    coverage: dict[str, float]
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """One JSON object: the forecast's scores by the field's names, then everything else."""
        own = asdict(self.methods[0])
        coverage = {f"coverage_{level}": part for level, part in self.coverage.items()}
        scores = {name: own[name] for name in ("mae", "rmse", "mse", "mase", "smape")}
        skills = {f"skill_over_{name}": skill for name, skill in self.skills().items()}
        return _plain({**scores, "wql": self.wql, **coverage, **skills, **asdict(self)})

    def __str__(self) -> str:
        """A table that a person can read, and what it means."""
        return evaluation_text(self.to_dict())

    def skills(self) -> dict[str, float]:
        """Baseline -> 1 minus the ratio of mean absolute errors on the same windows; above 0 is better."""
        found: dict[str, float] = {}
        for group in (self.methods, self.classical):
            for other in group[1:]:
                found.setdefault(other.method, 1 - group[0].mae / other.mae if other.mae else float("nan"))
        return found


def _plain(value: Any) -> Any:
    """JSON has no NaN: what could not be computed is null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@dataclass(frozen=True)
class Windows:
    """The windows to be judged.

    Args:
        series: All rows.
        index: Series of each window.
        origins: Row at which each forecast starts.
        sampled: Whether these are an even sample of the windows that there are.
        trained_on: Whether the model has learned from these rows.
    """

    series: SeriesArrays
    index: Integers
    origins: Integers
    sampled: bool = False
    trained_on: bool = False

    def take(self, places: NDArray[Any]) -> "Windows":
        """Some of the windows, by place or by a mask."""
        return replace(self, index=self.index[places], origins=self.origins[places])

    def blocks(self, horizon: int) -> Integers:
        """One number for all windows of a series that start within the same horizon."""
        return self.index * (len(self.series.values) + 1) + self.origins // horizon

    def scales(self, season: int) -> Array:
        """In-sample seasonal naive error of each window's series, over the rows before its first window."""
        result = np.full(len(self.series), np.nan)
        for number in np.unique(self.index):
            first = int(self.origins[self.index == number].min())
            past = self.series.values[int(self.series.starts[number]) : first]
            result[number] = metrics.seasonal_scale(past, season)
        return result[self.index]


def evaluate_windows(model: ForecastModel, windows: Windows, *, classical: int = CLASSICAL_WINDOWS) -> Evaluation:
    """Score a model and the baselines on the same windows.

    Args:
        model: The trained forecaster.
        windows: What to score on.
        classical: Windows on which AutoETS is fitted; 0 leaves it out.

    Raises:
        DataError: no window has a value before it and one after it.
    """
    config = model.config
    windows = _with_values(windows, config)
    quantiles = model.quantiles(windows.series, windows.index, windows.origins)
    answer = take_answers(config, windows.series, windows.index, windows.origins)
    forecasts = {"lstm": model.forecast_columns(quantiles)["lstm"], **_naive_forecasts(windows, config)}
    scale = windows.scales(config.season)
    methods = _score(answer, forecasts, scale)
    few = spread(len(windows.origins), classical)
    compared: tuple[Scores, ...] = ()
    if len(few):
        part = windows.take(few)
        ets = baselines.auto_ets(part.series, part.index, part.origins, config.horizon, config.season)
        compared = _score(answer[few], {"lstm": forecasts["lstm"][few], "auto_ets": ets}, scale[few])
    return Evaluation(
        horizon=config.horizon,
        season=config.season,
        series=len(np.unique(windows.index)),
        windows=len(windows.origins),
        sampled=windows.sampled,
        trained_on=windows.trained_on,
        methods=methods,
        classical=compared,
        wql=metrics.weighted_quantile_loss(answer, quantiles, config.quantiles),
        coverage=_coverages(model, quantiles, answer),
        verdict=describe_skill(answer, forecasts, windows.blocks(config.horizon)),
    )


def _with_values(windows: Windows, config: ForecastConfig) -> Windows:
    """The windows that have something to forecast from, and something to be held against."""
    place = (windows.series, windows.index, windows.origins)
    seen = np.isfinite(baselines.persistence(*place, 1)[:, 0])
    usable = seen & np.isfinite(take_answers(config, *place)).any(1)
    if not usable.any():
        raise DataError("no window has a value before it and one after it; there is nothing to score")
    return windows if usable.all() else windows.take(usable)


def _naive_forecasts(windows: Windows, config: ForecastConfig) -> dict[str, Array]:
    place = (windows.series, windows.index, windows.origins, config.horizon)
    naive = {"persistence": baselines.persistence(*place)}
    if config.season > 1:
        naive["seasonal_naive"] = baselines.seasonal_naive(*place, config.season)
    return naive


def _score(answer: Array, forecasts: dict[str, Array], scale: Array) -> tuple[Scores, ...]:
    return tuple(
        Scores(
            method=method,
            windows=len(answer),
            mae=metrics.mean_absolute_error(answer, forecast),
            rmse=metrics.mean_squared_error(answer, forecast) ** 0.5,
            mse=metrics.mean_squared_error(answer, forecast),
            mase=metrics.mase(answer, forecast, scale),
            smape=metrics.smape(answer, forecast),
        )
        for method, forecast in forecasts.items()
    )


def _coverages(model: ForecastModel, quantiles: Array, answer: Array) -> dict[str, float]:
    found: dict[str, float] = {}
    for level in (80, 95):
        columns = model.forecast_columns(quantiles, [level])
        low, high = columns[f"lstm-lo-{level}"], columns[f"lstm-hi-{level}"]
        found[str(level)] = 100 * metrics.coverage(answer, low, high)
    return found


def describe_skill(answer: Array, forecasts: dict[str, Array], blocks: Integers) -> str:
    """Say in words whether the forecast is better than repeating what was last seen.

    A forecast has skill if its error is smaller than the baseline's by more than twice the standard
    error of the difference, where windows that share answers count as one observation.

    Args:
        answer: ``(B, H)``.
        forecasts: ``(B, H)`` each, under ``lstm``, ``persistence`` and perhaps ``seasonal_naive``.
        blocks: The same number for windows that overlap, ``(B,)``.
    """
    forecast, last = forecasts["lstm"], forecasts["persistence"]
    sentences: list[str] = []
    for name, words in (("persistence", "repeating the last value"), ("seasonal_naive", "repeating the last season")):
        if name not in forecasts:
            continue
        skill, sure = _skill(answer, forecast, forecasts[name], blocks)
        sentences.append(_sentence(name.replace("_", " "), words, skill, sure=sure))
    moves = float(np.nanmean(np.abs(answer - last)))
    if float(np.nanmean(np.abs(forecast - last))) < _REPEATS_LAST_VALUE * moves:
        sentences.append("The forecast hardly differs from the last value: in a plot it only lags behind.")
    return " ".join(sentences)


def _sentence(title: str, words: str, skill: float, *, sure: bool) -> str:
    if skill < _NO_SKILL:
        how = "better" if skill < -_NO_SKILL else "as well"
        return f"No skill over {title} ({skill:+.1%}): {words} forecasts these data {how}."
    if not sure:
        return f"No skill over {title} beyond chance ({skill:+.1%}, which so few windows that do not overlap can show)."
    return f"Skill over {title}: {skill:+.1%}."


def _skill(answer: Array, forecast: Array, baseline: Array, blocks: Integers) -> tuple[float, bool]:
    """1 minus the ratio of mean absolute errors, and whether the difference is beyond chance."""
    error = metrics.mean_absolute_error(answer, forecast)
    other = metrics.mean_absolute_error(answer, baseline)
    if not other > 0:
        return 0.0, False
    gains = np.abs(answer - baseline) - np.abs(answer - forecast)
    present = np.isfinite(gains).any(1)
    _, block = np.unique(blocks[present], return_inverse=True)
    means = np.bincount(block, np.nanmean(gains[present], 1)) / np.bincount(block)
    standard_error = float(means.std()) / len(means) ** 0.5
    return 1 - error / other, len(means) > 1 and float(means.mean()) > 2 * standard_error
