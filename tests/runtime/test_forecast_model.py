import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.models import HOUR, QUANTILES, forecast_config, forecast_model, forecast_module, history

import lstmkit
from lstmkit.features import SeriesArrays, parse_frequency
from lstmkit.runtime.forecast import check_level, make_windows, mean_weights, take_answers
from lstmkit.spec import DataError, EngineError, OptionError, ShapeError

CONFIGS = {"covariates": forecast_config(), "plain": forecast_config(covariates=False, season=6, patch=3, horizon=5)}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def config(request):
    return request.param


@pytest.fixture
def model(config):
    return forecast_model(config)


def rows_of(config, given, start, stop):
    """The rows of a longer history, with the horizon's known covariates behind them."""
    part = {name: given[name][start:stop] for name in ("y", "ds", "observed") if name in given}
    if config.known:
        part |= {"known": given["known"][start : stop + config.horizon], "static": given["static"]}
    return part


def same(one, two, tolerance=0.0):
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=tolerance, atol=0, err_msg=name)


def three_series(config, seed=0):
    """Uneven series with holes, laid behind each other."""
    rng = np.random.default_rng(seed)
    lengths = np.array([40, 9, 33])
    stops, rows = np.cumsum(lengths), int(lengths.sum())
    values = 10 + rng.normal(size=rows) * np.repeat([1.0, 100.0, 0.01], lengths)
    values[rng.random(rows) < 0.2] = np.nan
    return SeriesArrays(
        values=values,
        starts=stops - lengths,
        stops=stops,
        timestamps=np.concatenate([np.arange(length) * HOUR + 977 * k for k, length in enumerate(lengths)]),
        frequency=parse_frequency("h"),
        ids=np.array(["a", "b", "c"], object),
        known=rng.normal(size=(rows, len(config.known))),
        observed=rng.normal(size=(rows, len(config.observed))),
        static=rng.normal(size=(3, len(config.static))),
        known_names=config.known,
        observed_names=config.observed,
        static_names=config.static,
    )


@pytest.mark.parametrize("returns", [False, True], ids=["values", "prices"])
def test_forecast__matches_torch(config, returns):
    module = forecast_module(config, returns=returns)
    model = forecast_model(config, module)
    series = three_series(config)
    series = replace(series, values=np.abs(series.values) + 0.1)
    index, origins = np.array([0, 1, 2, 0]), np.array([30, 45, 60, 1])
    windows = make_windows(config, series, index, origins)
    theirs = module({name: torch.from_numpy(array) for name, array in windows.items()})[model.answer].detach()
    ours = model.quantiles(series, index, origins)
    assert ours.shape == (4, config.horizon, len(QUANTILES))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert np.isfinite(ours).all()
    assert model.models_prices is returns
    assert (ours > 0).all() or not returns


def test_file__roundtrips_forecasts(model, config, tmp_path):
    model.save(tmp_path / "m.safetensors")
    again = lstmkit.load(tmp_path / "m.safetensors")
    assert again.config == config
    given = history(config, 30)
    same(again.predict(**given, level=[80]), model.predict(**given, level=[80]))


def test_stream__equals_predict__step_by_step(model, config):
    given, stream = history(config, 60), model.stream(history(config, 60).get("static"))
    for row in range(60):
        known = {"known": given["known"][row], "observed": given["observed"][row]} if config.known else {}
        ahead = {"known_ahead": given["known"][row + 1 : row + 1 + config.horizon]} if config.known else {}
        ds = given["ds"][row] if row in (0, 7) else None
        streamed = stream.step(given["y"][row], ds, **known, **ahead, level=[80, 95])
        start = max(0, row + 1 - config.history)
        same(streamed, model.predict(**rows_of(config, given, start, row + 1), level=[80, 95]))
        same(streamed, model.predict(**rows_of(config, given, 0, row + 1), level=[80, 95]))


def fed(model, config, given, rows=25):
    stream = model.stream(given.get("static"))
    part = rows_of(config, given, 0, rows)
    known = {"known": part["known"][:rows], "observed": part["observed"]} if config.known else {}
    stream.push(part["y"], part["ds"], **known)
    return stream


def ahead(config, given, rows=25):
    return {"known_ahead": given["known"][rows : rows + config.horizon]} if config.known else {}


@pytest.mark.parametrize(
    "operation",
    [
        lambda stream, given: stream.step(given["y"][25]),
        lambda stream, given: stream.push(given["y"][25:26]),
        lambda stream, given: stream.reset(),
        lambda stream, given: setattr(stream, "state", stream.state),
    ],
    ids=["step", "push", "reset", "set state"],
)
def test_stream__rejects_a_second_thread__and_changes_nothing(model, config, operation, monkeypatch):
    given = history(config, 40)
    stream, twin = fed(model, config, given), fed(model, config, given)
    row = {name: given[name][25] for name in ("known", "observed") if getattr(config, name)}
    predict, refused = model.predict, []

    def intrude(*arguments, **options):
        with pytest.raises(EngineError, match="another thread is using this stream"):
            operation(stream, given)
        refused.append(True)
        return predict(*arguments, **options)

    right = twin.step(given["y"][25], **row, **ahead(config, given, 26))
    monkeypatch.setattr(model, "predict", intrude)
    same(stream.step(given["y"][25], **row, **ahead(config, given, 26)), right)
    assert refused
    for name, array in twin.state.items():
        np.testing.assert_array_equal(stream.state[name], array)


def test_push__equals_steps(model, config):
    given = history(config, 30)
    same(fed(model, config, given).forecast(**ahead(config, given)), model.predict(**rows_of(config, given, 0, 25)))


def test_state__roundtrips__through_a_file(model, config, tmp_path):
    given = history(config, 30)
    stream = fed(model, config, given)
    np.savez(tmp_path / "state.npz", **stream.state)
    later = model.stream(given.get("static"))
    with np.load(tmp_path / "state.npz") as state:
        later.state = state
    same(later.forecast(**ahead(config, given)), stream.forecast(**ahead(config, given)))


def test_clone__goes_its_own_way(model, config):
    given = history(config, 30)
    stream = fed(model, config, given)
    before = stream.forecast(**ahead(config, given))
    clone = stream.clone()
    row = {"known": given["known"][25], "observed": given["observed"][25]} if config.known else {}
    clone.push([1e3], **{name: values[None] for name, values in row.items()})
    same(stream.forecast(**ahead(config, given)), before)
    assert not np.array_equal(clone.forecast(**ahead(config, given))["lstm"], before["lstm"])
    stream.reset()
    with pytest.raises(ShapeError, match="expected at least one row of history"):
        stream.forecast(**ahead(config, given))


def test_failed_step__preserves_history(model, config):
    given = history(config, 30)
    stream = fed(model, config, given)
    before = stream.state
    bad = [
        {"y": "text"},
        {"y": [1.0, 2.0]},
        {"y": 1.0, "ds": given["ds"][27]},
        {"y": 1.0, "known_ahead": np.ones((1, 1))},
    ]
    row = {"known": given["known"][25], "observed": given["observed"][25]} if config.known else {}
    for arguments in bad:
        with pytest.raises((ShapeError, DataError)):
            stream.step(**row, **arguments)
    for coverage in (0, 96):
        with pytest.raises(OptionError):
            stream.step(1.0, **row, **ahead(config, given, 26), level=[coverage])
    for name, array in stream.state.items():
        np.testing.assert_array_equal(array, before[name])


def test_other_series__never_matter(model, config):
    series = three_series(config)
    index, origins = np.array([1, 1, 1]), np.array([41, 45, 49])
    expected = model.quantiles(series, index, origins)
    inside = np.zeros(len(series.values), bool)
    inside[series.rows(1)] = True
    for poison in (np.nan, 1e30):
        poisoned = replace(
            series,
            values=np.where(inside, series.values, poison),
            known=np.where(inside[:, None], series.known, poison),
            observed=np.where(inside[:, None], series.observed, poison),
            timestamps=np.where(inside, series.timestamps, 7),
        )
        np.testing.assert_array_equal(model.quantiles(poisoned, index, origins), expected)


def test_future__never_matters__but_for_known(model, config):
    series = three_series(config)
    index, origins = np.array([0, 2]), np.array([25, 70])
    expected = model.quantiles(series, index, origins)
    for window, origin in enumerate(origins):
        later = np.arange(len(series.values)) >= origin
        hidden = replace(
            series,
            values=np.where(later, 1e6, series.values),
            observed=np.where(later[:, None], 1e6, series.observed),
        )
        found = model.quantiles(hidden, index[window : window + 1], origins[window : window + 1])
        np.testing.assert_allclose(found[0], expected[window], rtol=1e-5)


@pytest.mark.parametrize("name", ["known", "observed", "static", "ds"])
def test_each_input__changes_the_forecast(name):
    config = CONFIGS["covariates"]
    model, given = forecast_model(config), history(config, 30)
    before = model.predict(**given)["lstm"]
    changed = given[name] + 5 * HOUR if name == "ds" else given[name] + 1.0
    assert not np.allclose(model.predict(**{**given, name: changed})["lstm"], before, rtol=1e-4)


def test_missing_covariate__matches_its_mean():
    config = CONFIGS["covariates"]
    model, given = forecast_model(config), history(config, 30)
    hole, mean = given["known"].copy(), given["known"].copy()
    hole[12, 0], mean[12, 0] = np.nan, config.centres["price"]
    same(model.predict(**{**given, "known": hole}), model.predict(**{**given, "known": mean}), 1e-6)


@pytest.mark.parametrize("rows", [1, 2, 5, 23, 24, 25, 31])
def test_short_history__matches_one_padded_with_missing(model, config, rows):
    given = history(config, rows)
    given["y"][-1] = 3.0
    padded = {"y": np.concatenate([np.full(40, np.nan), given["y"]])}
    padded["ds"] = np.concatenate([given["ds"][0] - HOUR * np.arange(40, 0, -1), given["ds"]])
    for name in ("known", "observed"):
        if name in given:
            padded[name] = np.concatenate([np.full((40, given[name].shape[1]), np.nan), given[name]])
    if "static" in given:
        padded["static"] = given["static"]
    same(model.predict(**padded), model.predict(**given))
    assert np.isfinite(model.predict(**given)["lstm"]).all()


@pytest.mark.parametrize("value", [np.nan, 0.0, 5.0, -1e9])
def test_constant_or_missing_history__stays_finite(model, config, value):
    given = {**history(config, 30), "y": np.full(30, value)}
    forecast = model.predict(**given, level=[80])
    level = 0.0 if np.isnan(value) else value
    for column in forecast.values():
        np.testing.assert_allclose(column, level, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("scale", "shift"), [(1e9, 0.0), (1e-9, 0.0), (1.0, 1e5)])
def test_forecast__preserves_units(scale, shift):
    config = CONFIGS["plain"]
    model, given = forecast_model(config), history(config, 30)
    one = model.predict(given["y"], level=[80])
    two = model.predict(given["y"] * scale + shift, level=[80])
    for name in one:
        np.testing.assert_allclose((two[name] - shift) / scale, one[name], rtol=2e-2 if shift else 1e-3)


def test_intervals__match_quantiles__and_nest(model, config):
    columns = model.predict(**history(config, 30), level=[80, 95, 50.5, np.float32(10), np.int64(60)])
    quantiles = quantiles_of(model, config, 30)
    np.testing.assert_allclose(columns["lstm-lo-80"], quantiles[:, 1], rtol=1e-12)
    np.testing.assert_allclose(columns["lstm-hi-80"], quantiles[:, 3], rtol=1e-12)
    np.testing.assert_allclose(columns["lstm-lo-95"], quantiles[:, 0], rtol=1e-12)
    np.testing.assert_allclose(columns["lstm-hi-95"], quantiles[:, 4], rtol=1e-12)
    np.testing.assert_allclose(columns["lstm-lo-60"], 0.75 * quantiles[:, 1] + 0.25 * quantiles[:, 2], rtol=1e-9)
    np.testing.assert_allclose(columns["lstm"], quantiles @ np.diff([0, 0.0625, 0.3, 0.7, 0.9375, 1]), rtol=1e-12)
    order = [f"lstm-lo-{level}" for level in ("95", "80", "60", "50.5", "10")]
    order += [f"lstm-hi-{level}" for level in ("10", "50.5", "60", "80", "95")]
    assert (np.diff([columns[name] for name in order], axis=0) >= 0).all()


def quantiles_of(model, config, rows):
    series, origin = model._one_series(**{"known": None, "observed": None, "static": None, **history(config, rows)})
    return model.quantiles(series, np.zeros(1, np.int64), np.array([origin]))[0]


def test_mean_weights__match_share_of_probability():
    assert mean_weights(QUANTILES).sum() == pytest.approx(1)
    np.testing.assert_allclose(mean_weights((0.2, 0.5)), [0.35, 0.65])


@pytest.mark.parametrize("level", [0, -5, 95.1, 100, float("nan"), "80", None, True])
def test_level__rejects_beyond_the_model(level):
    with pytest.raises(OptionError, match="a level is a coverage in per cent, above 0 and up to 95 for this model"):
        check_level(CONFIGS["plain"], level)


def test_level__rejects_single_number():
    with pytest.raises(OptionError, match=r"level is a list of coverages, such as \[80, 95\], not 80"):
        forecast_model(CONFIGS["plain"]).predict([1.0, 2.0], level=80)


COVARIATE_ERRORS = {
    "no-known": ({"known": None}, ShapeError, r"expected known of shape \(37, 2\) for price, holiday, got nothing"),
    "short-known": ({"known": np.ones((30, 2))}, ShapeError, r"expected known of shape \(37, 2\)"),
    "no-observed": ({"observed": None}, ShapeError, r"expected observed of shape \(30, 1\) for humidity, got nothing"),
    "no-static": ({"static": None}, ShapeError, r"expected static of shape \(1, 3\) for size, height, age"),
    "long-static": ({"static": np.ones(4)}, ShapeError, r"expected static of shape \(1, 3\)"),
    "no-ds": ({"ds": None}, ShapeError, "this model uses the calendar; give the timestamps"),
    "short-ds": ({"ds": np.arange(29) * HOUR}, ShapeError, "expected one timestamp for each of 30 values"),
    "text-ds": ({"ds": ["noon"] * 30}, DataError, r"expected ds to be dates or whole numbers, got \['noon'\]"),
    "float-ds": ({"ds": np.arange(30.0)}, DataError, "expected ds to be dates or whole numbers"),
    "no-time": ({"ds": [None] * 30}, DataError, "expected ds to be dates or whole numbers"),
    "repeated-ds": ({"ds": np.zeros(30, int)}, DataError, "1970-01-01T00:00:00 is not one step of 'h' after 1970"),
    "gap": ({"ds": np.arange(60)[::2] * HOUR}, DataError, "01T02:00:00 is not one step of 'h' after 1970-01-01"),
    "backwards": ({"ds": np.arange(30)[::-1] * HOUR}, DataError, "give the rows in order"),
    "text-y": ({"y": ["many"] * 30}, DataError, "expected numbers in y, NaN where they are missing"),
    "flat-y": ({"y": np.ones((30, 1))}, ShapeError, r"expected y of shape \(T,\), got \(30, 1\)"),
    "empty-y": ({"y": []}, ShapeError, "expected at least one row of history"),
    "text-known": ({"known": np.full((37, 2), "x")}, DataError, "expected numbers in known"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "error", "match"), COVARIATE_ERRORS.values(), ids=COVARIATE_ERRORS)
def test_predict__rejects(change, error, match):
    config = CONFIGS["covariates"]
    with pytest.raises(error, match=match):
        forecast_model(config).predict(**{**history(config, 30), **change})


def test_timestamps__match_each_other__in_every_kind():
    config = CONFIGS["covariates"]
    model, given = forecast_model(config), history(config, 30)
    dates = given["ds"].astype("M8[ns]")
    for kind in (dates, dates.astype("M8[s]"), list(dates), [str(date) for date in dates]):
        same(model.predict(**{**given, "ds": kind}), model.predict(**given))


def test_stream__rejects_missing_static_and_first_time():
    config = CONFIGS["covariates"]
    model = forecast_model(config)
    with pytest.raises(ShapeError, match="expected static of shape"):
        model.stream()
    with pytest.raises(ShapeError, match="this model uses the calendar; give ds= with the first row"):
        model.stream([1, 2, 3]).step(1.0, known=[1, 2], observed=[1], known_ahead=np.ones((7, 2)))


def test_stream_state__rejects_that_of_another_model():
    one, two = (forecast_model(config) for config in CONFIGS.values())
    with pytest.raises(ShapeError, match="expected known of shape"):
        two.stream().state = fed(one, one.config, history(one.config, 30)).state
    with pytest.raises(ShapeError, match="this is not the state of a forecast stream: it has"):
        two.stream().state = {"y": np.ones(3)}


@pytest.mark.parametrize("price", [0.0, -1.0])
def test_price_model__rejects_prices_without_logarithm(price):
    config = CONFIGS["plain"]
    model = forecast_model(config, forecast_module(config, returns=True))
    match = rf"forecasts prices, which are above 0; y has {price:g} in row 2"
    with pytest.raises(DataError, match=match):
        model.predict([1.0, np.nan, price])
    with pytest.raises(DataError, match=match):
        model.stream().push([1.0, np.nan, price])
    assert (model.predict([1.0, np.nan, 2.0])["lstm"] > 0).all()


def test_windows__match_naive_gathering():
    config = CONFIGS["covariates"]
    series = three_series(config)
    windows = make_windows(config, series, np.array([1]), np.array([44]))
    own = np.arange(len(series.values))
    for step in range(config.history):
        row = 44 - config.history + step
        inside = 40 <= row < 44
        np.testing.assert_array_equal(windows["target"][0, step], series.values[row] if inside else np.nan)
        scaled = (series.known[row] - [0.0, 0.5]) / [1.0, 2.0] if inside else [0.0, 0.0]
        np.testing.assert_allclose(windows["history"][0, step, :2], scaled, rtol=1e-6)
    for step in range(config.horizon):
        inside = 44 + step < 49
        scaled = (series.known[44 + step] - [0.0, 0.5]) / [1.0, 2.0] if inside else [0.0, 0.0]
        np.testing.assert_allclose(windows["future"][0, step], scaled, rtol=1e-6)
        answer = take_answers(config, series, np.array([1]), np.array([44]))[0, step]
        np.testing.assert_array_equal(answer, series.values[own[44 + step]] if inside else np.nan)
    np.testing.assert_allclose(windows["static"][0], (series.static[1] - [1.5, 2.0, 2.5]) / [4, 5, 6], rtol=1e-6)
    hours = (4 + config.patch * np.arange(-4, 2) + 977 / HOUR) * 2 * np.pi / 24
    np.testing.assert_allclose(windows["calendar"][0, :, 0], np.sin(hours), atol=1e-6)
    np.testing.assert_allclose(windows["calendar"][0, :, 1], np.cos(hours), atol=1e-6)


def test_many_windows__equal_single_ones(model, config, monkeypatch):
    series = three_series(config)
    index, origins = np.array([0] * 20), np.arange(5, 25)
    whole = model.quantiles(series, index, origins)
    monkeypatch.setattr(model, "_batch", 7)
    np.testing.assert_allclose(model.quantiles(series, index, origins), whole, rtol=1e-5)


def test_forecaster__matches_training_machine__without_torch(tmp_path):
    config = CONFIGS["covariates"]
    model, given = forecast_model(config), history(config, 30)
    model.save(tmp_path / "model.safetensors")
    np.savez(tmp_path / "given.npz", **given)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, lstmkit\n"
        "model, given = lstmkit.load('model.safetensors'), dict(np.load('given.npz'))\n"
        "whole = model.predict(**given)['lstm']; stream = model.stream(given['static'])\n"
        "stream.push(given['y'], given['ds'], known=given['known'][:30], observed=given['observed'])\n"
        "np.savez('y.npz', whole=whole, streamed=stream.forecast(known_ahead=given['known'][30:])['lstm'])\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with np.load(tmp_path / "y.npz") as answer:
        np.testing.assert_allclose(answer["whole"], model.predict(**given)["lstm"], rtol=1e-6)
        np.testing.assert_array_equal(answer["streamed"], answer["whole"])
