"""Scores against independent oracles: plain loops, and what must hold of every evaluation."""

import json

import numpy as np
import pandas as pd
import pytest

from lstmkit.features import SeriesArrays
from lstmkit.spec import DataError
from lstmkit.tasks.forecasting import Forecaster, baselines, metrics
from lstmkit.tasks.forecasting.evaluation import describe_skill, spread

TINY = {"max_steps": 3, "hidden_size": 8, "batch_size": 16, "quiet": True, "device": "cpu"}
LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)


@pytest.fixture(scope="module")
def windows():
    """Answers with gaps, forecasts and quantiles of 9 windows of 4 steps."""
    random = np.random.default_rng(8)
    answer = random.normal(3, 5, (9, 4))
    answer[2, 1] = answer[7] = np.nan
    return answer, random.normal(3, 5, (9, 4)), np.sort(random.normal(3, 5, (9, 4, 5)), -1)


def present(answer, *others):
    """Every answer that is there, beside its forecasts, one by one."""
    for place in np.argwhere(np.isfinite(answer)):
        row, step = place
        yield (row, step, answer[row, step], *(other[row, step] for other in others))


def test_point_scores__match_loops(windows):
    answer, forecast, _ = windows
    pairs = [(y, f) for _, _, y, f in present(answer, forecast)]
    assert metrics.mean_absolute_error(answer, forecast) == pytest.approx(
        sum(abs(y - f) for y, f in pairs) / len(pairs)
    )
    assert metrics.mean_squared_error(answer, forecast) == pytest.approx(
        sum((y - f) ** 2 for y, f in pairs) / len(pairs)
    )
    expected = sum(200 * abs(y - f) / (abs(y) + abs(f)) for y, f in pairs) / len(pairs)
    assert metrics.smape(answer, forecast) == pytest.approx(expected)


def test_smape__equals_zero__for_zeros_that_were_forecast():
    assert metrics.smape(np.zeros((1, 2)), np.zeros((1, 2))) == 0


def test_mase__matches_loops(windows):
    answer, forecast, _ = windows
    scale = np.array([2.0, 0.5, 0.0, np.nan, 1.0, 3.0, 1.5, 2.5, 0.1])
    errors = [abs(y - f) / scale[row] for row, _, y, f in present(answer, forecast) if scale[row] > 0]
    assert metrics.mase(answer, forecast, scale) == pytest.approx(sum(errors) / len(errors))


def test_seasonal_scale__matches_a_loop():
    values = np.array([1.0, 5.0, np.nan, 2.0, 9.0, 4.0, 4.5])
    assert metrics.seasonal_scale(values, 3) == pytest.approx((1 + 4 + 2.5) / 3)
    assert np.isnan(metrics.seasonal_scale(values[:3], 3))


def test_weighted_quantile_loss__matches_loops(windows):
    answer, _, quantiles = windows
    losses = []
    for place, level in enumerate(LEVELS):
        pinball = [(level if y > q[place] else level - 1) * (y - q[place]) for _, _, y, q in present(answer, quantiles)]
        losses.append(2 * sum(pinball) / sum(abs(y) for _, _, y in present(answer)))
    expected = sum(losses) / len(losses)
    assert metrics.weighted_quantile_loss(answer, quantiles, LEVELS) == pytest.approx(expected)


def test_coverage__matches_a_loop(windows):
    answer, _, quantiles = windows
    low, high = quantiles[..., 1], quantiles[..., 3]
    inside = [lo <= y <= hi for _, _, y, lo, hi in present(answer, low, high)]
    assert metrics.coverage(answer, low, high) == pytest.approx(sum(inside) / len(inside))


def test_scores__are_missing__where_no_answer_is():
    nothing = np.full((2, 3), np.nan)
    for score in (metrics.mean_absolute_error, metrics.mean_squared_error, metrics.smape):
        assert np.isnan(score(nothing, np.ones((2, 3))))
    assert np.isnan(metrics.mase(nothing, np.ones((2, 3)), np.ones(2)))
    assert np.isnan(metrics.coverage(nothing, nothing, nothing))


@pytest.mark.parametrize("season", [1, 3])
def test_naive_forecasts__match_loops(season):
    random = np.random.default_rng(2)
    series = SeriesArrays.from_lists([random.normal(0, 1, 30), random.normal(9, 1, 17)])
    index, origins = np.array([0, 0, 1, 1]), np.array([9, 25, 36, 47])
    found = baselines.seasonal_naive(series, index, origins, 7, season)
    for row, (number, origin) in enumerate(zip(index, origins, strict=True)):
        past = list(series.values[series.starts[number] : origin])
        for step in range(7):
            past.append(past[-season])
            assert found[row, step] == past[-1]


def test_naive_forecasts__match_older_values__where_some_are_missing():
    series = SeriesArrays.from_lists([[1.0, 2.0, 3.0, 4.0, np.nan, 6.0, np.nan]])
    at = (np.array([0]), np.array([7]))
    assert baselines.persistence(series, *at, 2).tolist() == [[6.0, 6.0]]
    assert baselines.seasonal_naive(series, *at, 4, 3).tolist() == [[2.0, 6.0, 4.0, 2.0]]


def test_auto_ets__matches_statsforecast():
    from statsforecast.models import AutoETS

    values = 10 + np.sin(np.arange(60) * 2 * np.pi / 6) + np.random.default_rng(0).normal(0, 0.1, 60)
    series = SeriesArrays.from_lists([values, values[::-1]])
    found = baselines.auto_ets(series, np.array([0, 1]), np.array([55, 120]), 4, 6)
    for row, past in enumerate((values[:55], values[::-1])):
        np.testing.assert_allclose(found[row], AutoETS(season_length=6).forecast(past, h=4)["mean"])


def test_evaluate__matches_windows_cut_by_hand(forecaster):
    """Every window of every series, each forecast from a table that ends before it."""
    random = np.random.default_rng(5)
    parts = {"u0": random.normal(4, 2, 63), "u2": random.normal(-9, 1, 58)}
    hours = pd.date_range("2025-01-01", periods=63, freq="h")
    tables = {name: pd.DataFrame({"unique_id": name, "ds": hours[: len(y)], "y": y}) for name, y in parts.items()}
    evaluation = forecaster.evaluate(pd.concat(tables.values()), classical_windows=0)
    own, last, season, inside = [], [], [], []
    for name, y in parts.items():
        for origin in range(48, len(y) - 7 + 1):
            answer = y[origin : origin + 7]
            frame = forecaster.predict(tables[name].iloc[:origin], level=[80])
            own.append(frame["lstm"] - answer)
            inside.append((answer >= frame["lstm-lo-80"]) & (answer <= frame["lstm-hi-80"]))
            last.append(y[origin - 1] - answer)
            season.append(y[origin - 24 : origin - 17] - answer)
    assert (evaluation.windows, evaluation.series, evaluation.trained_on) == (len(own), 2, False)
    for scores, errors in zip(evaluation.methods, (own, last, season), strict=True):
        assert scores.mae == pytest.approx(np.abs(errors).mean(), rel=1e-5)
        assert scores.rmse == pytest.approx((np.array(errors) ** 2).mean() ** 0.5, rel=1e-5)
    assert evaluation.coverage["80"] == pytest.approx(100 * np.mean(inside))


def test_evaluate__equals_scores_of_a_sample_of_windows(forecaster, hourly):
    new = hourly.assign(unique_id="new" + hourly["unique_id"])
    everything = forecaster.evaluate(new, classical_windows=0)
    sample = forecaster.evaluate(new, classical_windows=0, max_windows=50)
    assert (everything.sampled, sample.sampled, sample.windows) == (False, True, 50)
    assert sample.methods[0].mae == pytest.approx(everything.methods[0].mae, rel=0.3)


def test_evaluate__scores_only_rows_after_training(forecaster, hourly):
    on_training = forecaster.evaluate(hourly, classical_windows=0)
    assert on_training.trained_on
    assert "trained on these rows" in str(on_training)
    one = hourly[hourly["unique_id"] == "s0"]
    later = pd.DataFrame(
        {"unique_id": "s0", "ds": pd.date_range(one["ds"].max(), periods=21, freq="h")[1:], "y": 9 + np.arange(20) % 3}
    )
    longer = forecaster.evaluate(pd.concat([one, later]), classical_windows=0)
    assert (longer.trained_on, longer.windows, longer.series) == (False, 20 - 7 + 1, 1)


def test_evaluate__flags_training_rows__under_the_name_of_another_series(hourly):
    """A table without ids may be any of the series that the model knows."""
    one = hourly[hourly["unique_id"] == "s0"].drop(columns="unique_id")
    forecaster = Forecaster(horizon=7, **TINY).fit(hourly)
    assert forecaster.evaluate(one, classical_windows=0).trained_on


def test_evaluate__never_scores_windows_without_a_past(forecaster):
    y = np.concatenate([np.full(60, np.nan), np.random.default_rng(0).normal(5, 1, 40)])
    table = pd.DataFrame({"unique_id": "late", "ds": pd.date_range("2025-01-01", periods=100, freq="h"), "y": y})
    assert forecaster.evaluate(table, classical_windows=0).windows == 100 - 7 - 61 + 1


def test_evaluate__rejects_series_of_one_horizon(forecaster):
    table = pd.DataFrame(
        {"unique_id": "z", "ds": pd.date_range("2025-01-01", periods=7, freq="h"), "y": np.arange(7.0)}
    )
    with pytest.raises(DataError, match="nothing to score"):
        forecaster.evaluate(table)


def test_evaluation__roundtrips_json(forecaster, hourly):
    evaluation = forecaster.evaluate(hourly, classical_windows=2)
    found = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    numbers = ["mae", "rmse", "mse", "mase", "smape", "wql", "coverage_80", "coverage_95"]
    numbers += [f"skill_over_{name}" for name in ("persistence", "seasonal_naive", "auto_ets")]
    assert all(isinstance(found[name], float) for name in numbers)
    assert found["rmse"] ** 2 == pytest.approx(found["mse"])
    assert found["skill_over_persistence"] == pytest.approx(1 - found["mae"] / found["methods"][1]["mae"])
    assert found["classical"][1]["windows"] == 2
    for word in ("lstm", "persistence", "seasonal_naive", "auto_ets", "interval"):
        assert word in str(evaluation)


@pytest.mark.parametrize(("total", "count"), [(10, 3), (3, 10), (7, 7), (5, 0), (100, 99)])
def test_spread__preserves_count_and_ends(total, count):
    places = spread(total, count)
    assert len(places) == min(total, count)
    assert len(set(places.tolist())) == len(places)
    if count > 1:
        assert (places[0], places[-1]) == (0, total - 1)


def test_skill__is_none__where_the_difference_is_chance():
    random = np.random.default_rng(0)
    answer, last = random.normal(0, 1, (40, 3)), np.zeros((40, 3))
    lucky = {"lstm": last + random.normal(0, 0.02, (40, 3)), "persistence": last}
    verdict = describe_skill(answer, lucky, np.arange(40))
    assert "No skill over persistence" in verdict
    assert "only lags behind" in verdict
    good = {"lstm": answer + random.normal(0, 0.2, (40, 3)), "persistence": last, "seasonal_naive": last - 1}
    verdict = describe_skill(answer, good, np.arange(40))
    assert verdict.startswith("Skill over persistence: +")
    assert "Skill over seasonal naive: +" in verdict
    one_observation = describe_skill(answer, good, np.zeros(40, int))
    assert "No skill" in one_observation, "windows that overlap count once"


def test_verdict__learns_skill_on_waves_and_none_on_a_random_walk():
    random = np.random.default_rng(1)
    steps = np.arange(700)
    ds = pd.date_range("2024-01-01", periods=700, freq="h")
    wave = pd.DataFrame({"ds": ds, "y": np.sin(steps * 2 * np.pi / 24) + random.normal(0, 0.3, 700)})
    walk = pd.DataFrame({"ds": ds, "y": random.normal(0, 1, 700).cumsum()})
    options = {"max_steps": 40, "hidden_size": 8, "batch_size": 64, "quiet": True, "device": "cpu"}
    on_wave = Forecaster(horizon=6, **options).fit(wave, validation=140).scores
    on_walk = Forecaster(horizon=1, season=1, **options).fit(walk, validation=140).scores
    assert on_wave["verdict"].startswith("Skill over persistence: +")
    assert "No skill over persistence" in on_walk["verdict"]
    assert on_walk["skill_over_persistence"] < 0.05


def test_evaluate__learns_nothing_from_a_constant():
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=120), "y": 42.0})
    forecaster = Forecaster(horizon=5, **TINY).fit(table)
    np.testing.assert_allclose(forecaster.predict()[["lstm", "lstm-lo-95", "lstm-hi-95"]], 42.0, rtol=1e-3)
    assert "No skill over persistence" in forecaster.scores["verdict"]
    assert forecaster.scores["mase"] is None
