"""Tables and small models that the forecasting tests share; each model is trained once."""

import numpy as np
import pandas as pd
import pytest

from lstmkit.tasks.forecasting import Forecaster

# Enough to run every line, far too little to forecast well.
TINY = {"max_steps": 6, "hidden_size": 8, "batch_size": 16, "quiet": True, "device": "cpu"}


def hourly_table(lengths: tuple[int, ...] = (260, 200, 231), seed: int = 0, noise: float = 0.3) -> pd.DataFrame:
    """Daily waves of uneven length and level, with noise, missing values and missing rows."""
    random = np.random.default_rng(seed)
    frames = []
    for number, length in enumerate(lengths):
        steps = np.arange(length)
        y = 10 * (number + 1) + 3 * np.sin(steps * 2 * np.pi / 24) + random.normal(0, noise, length)
        y[random.integers(0, length - 1, 5)] = np.nan
        ds = pd.date_range("2024-03-01 05:00", periods=length, freq="h")
        frame = pd.DataFrame({"unique_id": f"s{number}", "ds": ds, "y": y})
        frames.append(frame.drop(index=[50, 51, 70]) if length > 100 else frame)
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="session")
def hourly() -> pd.DataFrame:
    return hourly_table()


@pytest.fixture(scope="session")
def forecaster(hourly: pd.DataFrame) -> Forecaster:
    return Forecaster(horizon=7, history=72, **TINY).fit(hourly)


@pytest.fixture(scope="session")
def model_path(forecaster: Forecaster, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    forecaster.save(path)
    return path


@pytest.fixture(scope="session")
def covariate_table() -> pd.DataFrame:
    """Two daily series that a known, an observed and a static covariate explain."""
    random = np.random.default_rng(3)
    frames = []
    for name, level in (("b", 2.0), ("a", 7.0)):
        ds = pd.date_range("2024-01-01", periods=120 if name == "b" else 97)
        promotion = random.integers(0, 2, len(ds)).astype(float)
        visits = random.normal(100, 9, len(ds))
        y = 5 * level + 4 * promotion + random.normal(0, 0.2, len(ds))
        frames.append(
            pd.DataFrame({"shop": name, "day": ds, "sales": y, "promo": promotion, "visits": visits, "size": level})
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="session")
def covariate_forecaster(covariate_table: pd.DataFrame) -> Forecaster:
    options = {"id_column": "shop", "time_column": "day", "target_column": "sales"}
    covariates = {"known": ["promo"], "observed": "visits", "static": ["size"]}
    return Forecaster(horizon=5, **options, **covariates, **TINY).fit(covariate_table)
