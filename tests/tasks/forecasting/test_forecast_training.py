"""What training may see and must keep: splits, cross-validation, calibration, returns, checkpoints."""

import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest

from lstmkit.spec import DataError, OptionError
from lstmkit.tasks.forecasting import Forecaster

pytest.importorskip("torch", reason="training needs torch")

from lstmkit.tasks.forecasting.learning import conformal_offsets, crossed_coverage

TINY = {"max_steps": 4, "hidden_size": 8, "batch_size": 16, "quiet": True, "device": "cpu"}
NUMBERS = ["lstm", "lstm-lo-80", "lstm-hi-80"]


def folds(table: pd.DataFrame, **options) -> pd.DataFrame:
    return Forecaster(horizon=7, **TINY).cross_validation(table, level=[80], **options)


def same(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    return first[NUMBERS].to_numpy().tobytes() == second[NUMBERS].to_numpy().tobytes()


@pytest.fixture(scope="module")
def validated(hourly):
    return folds(hourly, n_windows=3, step_size=5, refit=True)


def test_cross_validation__matches_cutoffs_and_data(validated, hourly):
    assert list(validated.columns) == ["unique_id", "ds", "cutoff", "y", *NUMBERS]
    assert len(validated) == 3 * 3 * 7
    for name, rows in hourly.groupby("unique_id"):
        last = rows.dropna()["ds"].max()
        expected = [last - pd.Timedelta(hours=7 + 5 * back) for back in (2, 1, 0)]
        assert validated[validated["unique_id"] == name]["cutoff"].unique().tolist() == expected
    assert ((validated["ds"] - validated["cutoff"]).dt.total_seconds() / 3600).tolist() == [*range(1, 8)] * 9
    joined = validated.merge(hourly, on=["unique_id", "ds"], how="left", suffixes=("", "_true"))
    np.testing.assert_array_equal(joined["y"], joined["y_true"])


@pytest.mark.parametrize("refit", [True, False, 2])
def test_cross_validation__never_sees_beyond_a_cutoff(hourly, validated, refit):
    """Other values after a cutoff leave all forecasts up to it bit for bit the same."""
    before = validated if refit is True else folds(hourly, n_windows=3, step_size=5, refit=refit)
    cutoffs = validated.groupby("unique_id")["cutoff"].unique()
    for fold in range(3):
        changed = hourly.copy()
        after = changed["ds"] > changed["unique_id"].map(cutoffs.str[fold])
        changed.loc[after, "y"] = changed.loc[after, "y"] * -5 + 1000
        again = folds(changed, n_windows=3, step_size=5, refit=refit)
        known = (before["cutoff"] <= before["unique_id"].map(cutoffs.str[fold])).to_numpy()
        assert same(before[known], again[known])
        assert not same(before[~known], again[~known]) or known.all()


def test_cross_validation__equals_a_fit_before_the_cutoff(hourly, validated):
    cutoffs = validated.groupby("unique_id")["cutoff"].min()
    past = hourly[hourly["ds"] <= hourly["unique_id"].map(cutoffs)]
    alone = Forecaster(horizon=7, **TINY).fit(past).predict(level=[80])
    assert same(validated.iloc[:21], alone)


def test_cross_validation__refits_as_often_as_asked(hourly, monkeypatch):
    from lstmkit.tasks.forecasting import fitting

    counted = []
    fit_model = fitting.fit_model
    monkeypatch.setattr(fitting, "fit_model", lambda *given: counted.append(1) or fit_model(*given))
    for refit, fits in ((False, 1), (0, 1), (True, 4), (3, 2), (4, 1)):
        counted.clear()
        folds(hourly, n_windows=4, step_size=3, refit=refit)
        assert len(counted) == fits, refit


def test_cross_validation__keeps_y__where_a_fold_has_no_answers():
    table = pd.DataFrame({"ds": np.arange(60), "y": np.sin(np.arange(60.0))})
    table.loc[50:54, "y"] = np.nan
    found = Forecaster(horizon=5, **TINY).cross_validation(table, n_windows=2, level=[])
    assert found["y"].isna().tolist() == [True] * 5 + [False] * 5


def test_cross_validation__rejects_series_that_are_too_short(hourly):
    with pytest.raises(DataError, match="'s1' is too short for 30 windows"):
        folds(hourly, n_windows=30)
    with pytest.raises(OptionError, match="n_windows"):
        folds(hourly, n_windows=0)


def test_scalers__never_see_validation_rows(covariate_table):
    changed = covariate_table.copy()
    last = changed.groupby("shop").cumcount(ascending=False) < 9
    changed.loc[last, ["sales", "promo", "visits"]] *= 50.0
    options = {"id_column": "shop", "time_column": "day", "target_column": "sales", "known": ["promo"]}
    models = [
        Forecaster(horizon=5, observed=["visits"], **options, **TINY).fit(
            table[~last], validation=table[last], classical_windows=0
        )
        for table in (covariate_table, changed)
    ]
    first, second = (forecaster.model for forecaster in models)
    assert first.config == second.config
    assert first.config.centres["visits"] == pytest.approx(covariate_table[~last]["visits"].mean())
    one, other = (
        {name: array for stage, own in model.weights.items() if stage != "calibrated" for name, array in own.items()}
        for model in (first, second)
    )
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    assert first.scores["mae"] != second.scores["mae"]


def test_training_windows__never_reach_validation_rows():
    from lstmkit.features import SeriesArrays
    from lstmkit.tasks.forecasting.windows import Batches, plan_windows, split_series, window_batch

    lists = [np.arange(200.0), np.arange(90.0), np.arange(11.0)]
    split = split_series(SeriesArrays.from_lists(lists), 5, None)
    held = [20, 9, 0]
    batches = Batches(plan_windows(split.training, 5, 1, 30), split.training, size=7, steps=1, seed=0, returns=False)
    index, origins = batches.origins.all()
    batch = window_batch(batches, index, origins)
    limits = np.array([len(values) - rows for values, rows in zip(lists, held, strict=True)])
    assert (np.nanmax(batch["answer"], 1) < limits[index]).all()
    assert (np.nanmax(batch["target"], 1) < np.nanmin(batch["answer"], 1)).all()
    assert np.isfinite(batch["answer"]).all(), "a whole horizon lies within the series"
    judged, firsts = split.judged.all()
    assert (firsts - split.whole.starts[judged] >= limits[judged]).all()


def test_conformal_calibration__covers_exchangeable_noise():
    random = np.random.default_rng(0)
    levels = (0.025, 0.1, 0.5, 0.9, 0.975)
    quantiles = np.broadcast_to(np.array([-0.3, -0.2, 0.0, 0.2, 0.3]), (500, 3, 5))
    offsets = conformal_offsets(quantiles, random.normal(0, 1, (500, 3)), levels)
    assert (offsets[:, 2] == 0).all(), "the centre stays"
    np.testing.assert_array_equal(offsets, -offsets[:, ::-1])
    new = random.normal(0, 1, (4000, 3))
    shifted = quantiles[0] + offsets
    for low, high, promise in ((1, 3, 0.80), (0, 4, 0.95)):
        inside = (new >= shifted[:, low]) & (new <= shifted[:, high])
        np.testing.assert_allclose(inside.mean(0), promise, atol=0.04)


def test_conformal_calibration__narrows_intervals_that_are_too_wide():
    answer = np.random.default_rng(1).normal(0, 1, (300, 2))
    wide = np.broadcast_to(np.array([-9.0, 0.0, 9.0]), (300, 2, 3))
    shifted = wide[0] + conformal_offsets(wide, answer, (0.1, 0.5, 0.9))
    np.testing.assert_allclose(shifted[:, 2], 1.28, atol=0.25)


def test_crossed_coverage__never_flatters():
    """Quantiles that are pure chance: on its own windows calibration covers 80 %, on others it must find that out."""
    random = np.random.default_rng(3)
    quantiles = np.sort(random.normal(0, 1, (8, 1, 3)), -1)
    answer = np.where(np.arange(8) < 4, 1.0, 100.0)[:, None]
    assert crossed_coverage(quantiles, answer, (0.1, 0.5, 0.9))["80"] == 50
    assert np.isnan(crossed_coverage(quantiles[:1], answer[:1], (0.1, 0.5, 0.9))["80"])


def test_scores__tell_the_crossed_coverage(hourly, monkeypatch):
    from lstmkit.tasks.forecasting import fitting

    told = {"80": 12.5, "95": 34.0, "20": 1.0}
    monkeypatch.setattr(fitting, "crossed_coverage", lambda quantiles, answers, levels: told)
    scores = Forecaster(horizon=7, **TINY).fit(hourly).scores
    assert (scores["coverage_80"], scores["coverage_95"]) == (12.5, 34.0)


def test_calibration__is_kept_in_the_file(forecaster, model_path):
    offsets = Forecaster.load(model_path).model.weights["calibrated"]["offset"]
    assert (offsets != 0).any()
    assert (offsets[:, 5] == 0).all()
    np.testing.assert_array_equal(offsets, forecaster.model.weights["calibrated"]["offset"])


@pytest.fixture(scope="module")
def prices():
    random = np.random.default_rng(6)
    days = pd.bdate_range("2022-01-03", periods=300)
    return pd.DataFrame({"ds": days, "y": 80 * np.exp(random.normal(0, 0.02, 300).cumsum())})


@pytest.fixture(scope="module")
def price_forecaster(prices):
    return Forecaster(horizon=5, returns=True, **TINY).fit(prices)


def test_returns__preserve_sign_order_and_scale(price_forecaster, prices):
    forecast = price_forecaster.predict(prices, level=[80, 95])
    numbers = forecast[["lstm-lo-95", "lstm-lo-80", "lstm", "lstm-hi-80", "lstm-hi-95"]].to_numpy()
    assert (numbers > 0).all()
    assert (np.diff(numbers[:, [0, 1, 3, 4]], axis=1) >= 0).all()
    tenfold = price_forecaster.predict(prices.assign(y=prices["y"] * 10), level=[80, 95])
    np.testing.assert_allclose(tenfold.drop(columns="ds"), forecast.drop(columns="ds") * 10, rtol=1e-4)
    np.testing.assert_allclose(forecast["lstm"], prices["y"].iloc[-1], rtol=0.3)


def test_returns__reject_prices_of_zero_and_below(price_forecaster, prices):
    wrong = prices.assign(y=prices["y"].where(prices.index != 7, -3.0))
    with pytest.raises(DataError, match=r"prices above 0; series 'y' has -3 in its row 8"):
        Forecaster(horizon=5, returns=True, **TINY).fit(wrong)
    with pytest.raises(DataError, match="prices above 0"):
        price_forecaster.predict(wrong)


def test_returns__roundtrip_the_file(price_forecaster, prices, tmp_path):
    price_forecaster.save(tmp_path / "m.safetensors")
    loaded = Forecaster.load(tmp_path / "m.safetensors")
    assert loaded.returns
    pd.testing.assert_frame_equal(loaded.predict(prices), price_forecaster.predict(prices))


WORKER = textwrap.dedent(
    """
    import sys, os, signal
    import pandas as pd
    from lstmkit.tasks.forecasting import Forecaster, fitting
    from lstmkit.training.run import Run

    table, model, checkpoint, kill_part, kill_step = sys.argv[1:]
    part, save = [0], Run._save
    execute = Run.execute

    def counted(run):
        part[0] += 1
        return execute(run)

    def after_step(run):
        answer = step(run)
        if part[0] == int(kill_part) and run.state.step == int(kill_step):
            save(run)
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    step = Run._after_step
    Run.execute, Run._after_step = counted, after_step
    options = {"hidden_size": 8, "batch_size": 16, "max_steps": 20, "quiet": True, "device": "cpu"}
    Forecaster(horizon=4, checkpoint=checkpoint or None, **options).fit(table).save(model)
    """
)


def run_worker(folder, name: str, checkpoint: str, part: int, step: int) -> int:
    arguments = [folder / "t.csv", folder / name, checkpoint and folder / checkpoint, part, step]
    return subprocess.run([sys.executable, "-c", WORKER, *map(str, arguments)]).returncode


def test_checkpoint__equals_an_uninterrupted_training__killed_in_either_part(hourly, tmp_path):
    hourly.to_csv(tmp_path / "t.csv", index=False)
    assert run_worker(tmp_path, "whole.safetensors", "", 0, 0) == 0
    for part, step in ((1, 7), (2, 3)):
        name, checkpoint = f"{part}.safetensors", f"checkpoint{part}"
        assert run_worker(tmp_path, name, checkpoint, part, step) == -signal.SIGKILL
        assert (tmp_path / checkpoint).exists()
        assert run_worker(tmp_path, name, checkpoint, 0, 0) == 0
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"t.csv", "whole.safetensors", "1.safetensors", "2.safetensors"}


def test_checkpoint__rejects_other_data(hourly, tmp_path, monkeypatch):
    from lstmkit.training.run import Run

    class Killed(Exception):
        pass

    def die(run):
        run._save()
        raise Killed

    options = TINY | {"checkpoint": tmp_path / "c"}
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Run, "_after_step", die)
        Forecaster(horizon=4, **options).fit(hourly)
    with pytest.raises(OptionError, match="another"):
        Forecaster(horizon=4, **options).fit(hourly.assign(y=hourly["y"] + 1))


def test_interruption__keeps_the_best_model_so_far(hourly, tmp_path):
    """A first Ctrl-C ends either part; with a checkpoint, the next run goes on as if nothing had happened."""
    import os

    from lstmkit.training.run import Run

    options = {"hidden_size": 8, "batch_size": 16, "max_steps": 20, "quiet": True, "device": "cpu"}
    whole = Forecaster(horizon=4, **options).fit(hourly)
    assert not whole.interrupted
    after_step = Run._after_step
    for part, at in ((16, 5), (4, 2)):

        def interrupt(run, part=part, at=at):
            if run.total_steps == part and run.state.step == at:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            return after_step(run)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "_after_step", interrupt)
            stopped = Forecaster(horizon=4, checkpoint=tmp_path / "c", **options).fit(hourly)
        assert stopped.interrupted
        assert np.isfinite(stopped.predict()["lstm"]).all()
        assert stopped.scores["mae"] > 0
        again = Forecaster(horizon=4, checkpoint=tmp_path / "c", **options).fit(hourly)
        pd.testing.assert_frame_equal(again.predict(), whole.predict(), check_exact=True)
        assert list(tmp_path.iterdir()) == []
