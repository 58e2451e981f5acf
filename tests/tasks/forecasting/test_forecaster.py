"""The forecaster as people call it: tables in and out, names, covariates, files, streams."""

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lstmkit.spec import DataError, LSTMKitError, ModelFileError, OptionError
from lstmkit.tasks.forecasting import Forecaster

NUMBERS = ["lstm", "lstm-lo-80", "lstm-hi-80", "lstm-lo-95", "lstm-hi-95"]
TINY = {"max_steps": 3, "hidden_size": 8, "batch_size": 16, "quiet": True, "device": "cpu"}


@pytest.fixture(scope="module")
def answer(forecaster, hourly):
    return forecaster.predict(hourly)


def test_predict__equals_itself__every_kind_of_table(forecaster, hourly, answer, tmp_path):
    hourly.to_csv(tmp_path / "t.csv", index=False)
    hourly.to_parquet(tmp_path / "t.parquet")
    from_polars = forecaster.predict(pl.from_pandas(hourly))
    from_arrow = forecaster.predict(pa.Table.from_pandas(hourly))
    assert isinstance(answer, pd.DataFrame)
    assert isinstance(from_polars, pl.DataFrame)
    assert isinstance(from_arrow, pa.Table)
    for other in (from_polars.to_pandas(), from_arrow.to_pandas(), forecaster.predict(tmp_path / "t.parquet")):
        assert list(other.columns) == ["unique_id", "ds", *NUMBERS]
        np.testing.assert_array_equal(other[NUMBERS], answer[NUMBERS])
        assert (pd.to_datetime(other["ds"]).to_numpy() == answer["ds"].to_numpy()).all()
        assert (other["unique_id"].astype(str).to_numpy() == answer["unique_id"].to_numpy()).all()
    np.testing.assert_allclose(forecaster.predict(str(tmp_path / "t.csv"))[NUMBERS], answer[NUMBERS], rtol=1e-12)


def test_predict__equals_itself__shuffled_rows(forecaster, hourly, answer):
    shuffled = hourly.sample(frac=1, random_state=4)
    other = forecaster.predict(shuffled).sort_values(["unique_id", "ds"], ignore_index=True)
    pd.testing.assert_frame_equal(other, answer.sort_values(["unique_id", "ds"], ignore_index=True))


def test_predict__equals_prediction_on_the_training_table(forecaster, answer):
    pd.testing.assert_frame_equal(forecaster.predict(), answer)


def test_predict__continues_each_series_after_its_own_end(answer, hourly):
    last = hourly.dropna().groupby("unique_id")["ds"].max()
    for name, rows in answer.groupby("unique_id"):
        assert rows["ds"].tolist() == pd.date_range(last[name], periods=8, freq="h")[1:].tolist()
    assert np.isfinite(answer[NUMBERS].to_numpy()).all()


def test_predict__preserves_shorter_horizons_and_levels(forecaster, hourly, answer):
    short = forecaster.predict(hourly, h=3, level=[80])
    assert list(short.columns) == ["unique_id", "ds", "lstm", "lstm-lo-80", "lstm-hi-80"]
    first = answer.groupby("unique_id", sort=False).head(3).reset_index(drop=True)
    pd.testing.assert_frame_equal(short, first[short.columns])
    assert list(forecaster.predict(hourly, level=[]).columns) == ["unique_id", "ds", "lstm"]
    assert list(forecaster.predict(hourly, level=90.5).columns)[3:] == ["lstm-lo-90.5", "lstm-hi-90.5"]


def test_predict__preserves_order_of_levels(answer):
    order = answer[["lstm-lo-95", "lstm-lo-80", "lstm-hi-80", "lstm-hi-95"]].to_numpy()
    assert (np.diff(order, axis=1) >= 0).all()


def test_predict__preserves_other_series(forecaster, hourly, answer):
    """Cold start: an unseen series, even of one row, changes nothing for the others."""
    new = pd.DataFrame({"unique_id": "new", "ds": [pd.Timestamp("2024-05-01")], "y": [55.0]})
    both = forecaster.predict(pd.concat([hourly, new], ignore_index=True))
    np.testing.assert_allclose(both[both["unique_id"] != "new"][NUMBERS], answer[NUMBERS], rtol=1e-5)
    alone = forecaster.predict(new)
    np.testing.assert_allclose(both[both["unique_id"] == "new"][NUMBERS], alone[NUMBERS], rtol=1e-5)
    assert alone["lstm"].between(54, 56).all()
    assert alone["ds"].iloc[0] == pd.Timestamp("2024-05-01 01:00")


def test_predict__never_sees_rows_beyond_its_history(forecaster, hourly, answer):
    changed = hourly.copy()
    old = changed.groupby("unique_id").cumcount() < 10
    changed.loc[old, "y"] = 1e6
    longest = changed["unique_id"] == "s0"
    pd.testing.assert_frame_equal(forecaster.predict(changed[longest]), answer[answer["unique_id"] == "s0"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"h": 8}, "up to 7 steps"),
        ({"h": 0}, "h must be"),
        ({"level": [99]}, "level"),
        ({"level": [0]}, "level"),
        ({"level": ["80"]}, "level"),
    ],
)
def test_predict__rejects_what_the_model_cannot_give(forecaster, hourly, arguments, words):
    with pytest.raises(OptionError, match=words):
        forecaster.predict(hourly, **arguments)


def test_predict__rejects_another_frequency(forecaster):
    daily = pd.DataFrame({"unique_id": "d", "ds": pd.date_range("2024-01-01", periods=30), "y": np.arange(30.0)})
    with pytest.raises(DataError, match="rows are D apart, but the model knows rows that are h apart"):
        forecaster.predict(daily)


def test_predict__rejects_untrained():
    with pytest.raises(LSTMKitError, match="call fit"):
        Forecaster(horizon=3).predict()


def test_loaded_forecaster__rejects_prediction_without_a_table(model_path):
    with pytest.raises(DataError, match="holds no history"):
        Forecaster.load(model_path).predict()


def test_business_days__matches_a_short_working_week():
    days = pd.bdate_range("2024-01-01", periods=90)
    forecaster = Forecaster(horizon=2, **TINY).fit(pd.DataFrame({"ds": days, "y": np.arange(90.0)}))
    week = pd.DataFrame({"ds": pd.bdate_range("2024-06-03", periods=5), "y": np.arange(5.0)})
    assert forecaster.predict(week)["ds"].tolist() == [pd.Timestamp("2024-06-10"), pd.Timestamp("2024-06-11")]


def test_wide_table__equals_the_long_one(hourly):
    wide = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=90, freq="h")})
    for name, level in (("left", 3.0), ("right", -8.0)):
        wide[name] = level + np.random.default_rng(1).normal(0, 1, 90).round(3)
    long = wide.melt("ds", var_name="unique_id", value_name="y")
    from_wide = Forecaster(horizon=4, target_column=["left", "right"], **TINY).fit(wide).predict()
    from_long = Forecaster(horizon=4, **TINY).fit(long).predict()
    assert from_wide["unique_id"].tolist() == ["left"] * 4 + ["right"] * 4
    np.testing.assert_array_equal(from_wide[NUMBERS], from_long[NUMBERS])


def test_integer_time__roundtrips_names_and_types():
    table = pl.DataFrame({"k": np.arange(100, 160, dtype=np.int32) * 5, "v": np.sin(np.arange(60.0))})
    forecaster = Forecaster(horizon=3, time_column="k", target_column="v", id_column=None, **TINY).fit(table)
    answer = forecaster.predict()
    assert answer.columns[:2] == ["k", "lstm"]
    assert answer["k"].to_list() == [800, 805, 810]
    assert answer.schema["k"] == pl.Int32


def test_known_covariates__match_as_future_table_or_rows_without_target(covariate_forecaster, covariate_table):
    ends = covariate_table.groupby("shop")["day"].max()
    rows = [
        {"shop": shop, "day": day, "promo": float(number % 2), "size": {"a": 7.0, "b": 2.0}[shop]}
        for shop, end in ends.items()
        for number, day in enumerate(pd.date_range(end, periods=6)[1:])
    ]
    future = pd.DataFrame(rows)
    by_table = covariate_forecaster.predict(covariate_table, future=future)
    by_rows = covariate_forecaster.predict(pd.concat([covariate_table, future], ignore_index=True))
    by_training_table = covariate_forecaster.predict(future=future)
    pd.testing.assert_frame_equal(by_table, by_rows)
    pd.testing.assert_frame_equal(by_table, by_training_table)
    other = covariate_forecaster.predict(covariate_table, future=future.assign(promo=1 - future["promo"]))
    assert (other["lstm"] != by_table["lstm"]).all(), "the known future must matter"
    one_step = future.groupby("shop").head(1)
    shorter = covariate_forecaster.predict(covariate_table, h=1, future=one_step)
    assert shorter["day"].tolist() == (ends.loc[["b", "a"]] + pd.Timedelta(days=1)).tolist()


def test_known_covariates__are_kept_from_the_training_table(covariate_table):
    ahead = covariate_table.copy()
    ahead.loc[ahead.groupby("shop").cumcount(ascending=False) < 5, "sales"] = np.nan
    options = {"id_column": "shop", "time_column": "day", "target_column": "sales", "known": ["promo"]}
    forecaster = Forecaster(horizon=5, **options, **TINY).fit(ahead)
    pd.testing.assert_frame_equal(forecaster.predict(), forecaster.predict(ahead))


@pytest.mark.parametrize(
    "make", [lambda promotion: 1e-30 * promotion, lambda promotion: 1e30], ids=["tiny", "constant"]
)
def test_fit__rejects_covariates_far_from_ordinary_numbers(covariate_table, make):
    table = covariate_table.assign(promo=make(covariate_table["promo"]))
    options = {"id_column": "shop", "time_column": "day", "target_column": "sales", "known": ["promo"]}
    with pytest.raises(DataError, match="the covariate 'promo' has a mean of .*; give it in another unit"):
        Forecaster(horizon=5, **options, **TINY).fit(table)


def test_known_covariates__rejects_their_absence(covariate_forecaster, covariate_table):
    with pytest.raises(DataError, match=r"known covariate 'promo' is missing for series 'b' at 2024-04-30"):
        covariate_forecaster.predict(covariate_table)


def test_observed_and_static_covariates__matter(covariate_forecaster, covariate_table):
    past = covariate_table.groupby("shop", group_keys=False)[covariate_table.columns.tolist()]
    table = past.apply(lambda rows: rows.assign(sales=rows["sales"].where(np.arange(len(rows)) < len(rows) - 5)))
    base = covariate_forecaster.predict(table)["lstm"].to_numpy()
    visits = covariate_forecaster.predict(table.assign(visits=table["visits"] * 1.3))["lstm"].to_numpy()
    size = covariate_forecaster.predict(table.assign(size=table["size"] + 5))["lstm"].to_numpy()
    assert (visits != base).all()
    assert (size != base).all()
    later = table["sales"].isna()
    hidden = covariate_forecaster.predict(table.assign(visits=table["visits"].where(~later, 1e9)))["lstm"].to_numpy()
    np.testing.assert_array_equal(hidden, base, "an observed covariate must not be seen beyond the origin")


def test_file__roundtrips_without_torch(forecaster, hourly, answer, model_path, tmp_path):
    hourly.to_parquet(tmp_path / "t.parquet")
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'statsforecast', 'matplotlib']))\n"
        "from lstmkit.tasks.forecasting import Forecaster\n"
        "forecaster = Forecaster.load(sys.argv[1])\n"
        "forecaster.predict(sys.argv[2]).to_parquet(sys.argv[3])\n"
        "forecaster.evaluate(sys.argv[2], classical_windows=0)\n"
    )
    arguments = [str(path) for path in (model_path, tmp_path / "t.parquet", tmp_path / "answer.parquet")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    pd.testing.assert_frame_equal(pd.read_parquet(arguments[2])[NUMBERS], answer[NUMBERS], check_exact=True)


def test_file__equals_itself__saved_twice(forecaster, model_path, tmp_path):
    Forecaster.load(model_path).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == model_path.read_bytes()


def test_load__rejects_a_model_of_another_task(model_path, tmp_path):
    from lstmkit.nn import GRU, save_model
    from lstmkit.runtime.model_file import read_model, write_model

    save_model(tmp_path / "gru.safetensors", GRU(3, 5))
    with pytest.raises(ModelFileError, match="the task 'sequence', not 'forecast'"):
        Forecaster.load(tmp_path / "gru.safetensors")
    document, weights = read_model(model_path)
    write_model(tmp_path / "m.safetensors", document | {"task": "weather"}, weights)
    with pytest.raises(ModelFileError, match="'weather'"):
        Forecaster.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("columns", None),
        ("columns", {"id_column": 3}),
        ("columns", []),
        ("trained_until", [1]),
        ("trained_until", {"s0": "yesterday"}),
        ("forecast", {}),
        ("stages", []),
    ],
)
def test_load__rejects_hostile_documents(model_path, tmp_path, name, value):
    from lstmkit.runtime.model_file import read_model, write_model

    document, weights = read_model(model_path)
    write_model(tmp_path / "m.safetensors", document | {name: value}, weights)
    with pytest.raises(ModelFileError):
        Forecaster.load(tmp_path / "m.safetensors")


def test_stream__matches_batch_forecasts(forecaster, hourly):
    rows = hourly[hourly["unique_id"] == "s0"].set_index("ds").asfreq("h").reset_index().iloc[-60:]
    stream = forecaster.stream()
    stream.push(rows["y"].iloc[:57], rows["ds"].iloc[:57])
    for count in (58, 59, 60):
        part = rows.iloc[:count]
        streamed = stream.step(part["y"].iloc[-1], part["ds"].iloc[-1], level=[80])
        batch = forecaster.predict(part.assign(unique_id="s0"), level=[80])
        for name, values in streamed.items():
            np.testing.assert_allclose(values, batch[name], rtol=1e-6)


def test_fit__equals_itself__same_seed(forecaster, hourly):
    again = Forecaster(horizon=7, history=72, **(TINY | {"max_steps": 6})).fit(hourly)
    other = Forecaster(horizon=7, **TINY, seed=5).fit(hourly)
    pd.testing.assert_frame_equal(again.predict(), forecaster.predict())
    assert (other.predict()["lstm"] != again.predict()["lstm"]).all()


def test_fit__never_changes_the_table(hourly):
    before = hourly.copy(deep=True)
    Forecaster(horizon=7, **TINY).fit(hourly)
    pd.testing.assert_frame_equal(hourly, before)


@pytest.mark.parametrize(
    "options",
    [
        {"horizon": 0},
        {"horizon": 2.5},
        {"horizon": True},
        {"horizon": 3, "dropout": 1},
        {"horizon": 3, "batch_size": 0},
    ],
    ids=repr,
)
def test_forecaster__rejects_options(options):
    with pytest.raises(OptionError):
        Forecaster(**options)


def test_fit__rejects_validation_rows_that_do_not_follow(hourly):
    with pytest.raises(DataError, match="no 7 rows that follow"):
        Forecaster(horizon=7, **TINY).fit(hourly, validation=hourly)
    with pytest.raises(OptionError, match="at least the horizon"):
        Forecaster(horizon=7, **TINY).fit(hourly, validation=3)


def test_fit__rejects_tables_of_different_steps(hourly):
    daily = pd.DataFrame({"unique_id": "s0", "ds": pd.date_range("2024-05-01", periods=30), "y": np.arange(30.0)})
    with pytest.raises(DataError, match="rows are D apart, but the first table has rows that are h apart"):
        Forecaster(horizon=7, **TINY).fit([hourly, daily])


def test_fit__equals_one_table__given_in_two(hourly):
    cut = pd.Timestamp("2024-03-08")
    parts = [hourly[hourly["ds"] < cut], hourly[hourly["ds"] >= cut]]
    whole = Forecaster(horizon=7, **TINY).fit(hourly).predict()
    pd.testing.assert_frame_equal(Forecaster(horizon=7, **TINY).fit(parts).predict(), whole)
