"""Small untrained models with random weights, biases and offsets, on both sides of the file."""

import numpy as np
import torch

from lstmkit.nn import StagedModel
from lstmkit.runtime import ForecastConfig, ForecastModel, Stage
from lstmkit.spec import CellSpec
from lstmkit.tasks.forecasting.model import Sizes, forecast_stages

HOUR = 3600 * 10**9
QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter and buffer drawn from a normal distribution; nothing stays at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
    return module.eval()


def sequence_stages(features: int = 3, hidden: int = 5, outputs: int = 2, **options) -> list[Stage]:
    """linear -> relu -> LSTM -> linear, with a way around the LSTM."""
    cell = CellSpec(4, hidden, **options)
    return [
        Stage("embed", "linear", ("x",), {"features": features, "units": 4}),
        Stage("active", "relu", ("embed",)),
        Stage("memory", "recurrent", ("active",), {"cell": cell.to_dict(), "learn_initial_state": True}),
        Stage("thinned", "dropout", ("memory",), {"rate": 0.5}),
        Stage("head", "linear", ("thinned", "x"), {"features": cell.output_size + features, "units": outputs}),
        Stage("around", "linear", ("embed",), {"features": 4, "units": outputs, "bias": False}),
        Stage("sum", "add", ("head", "around")),
    ]


def forecast_config(*, covariates: bool = True, season: int = 4, patch: int = 6, horizon: int = 7) -> ForecastConfig:
    """Hours, with all kinds of covariates or none; season and patch divide the history, not each other."""
    names = {"known": ("price", "holiday"), "observed": ("humidity",), "static": ("size", "height", "age")}
    names = names if covariates else {}
    flat = [name for group in names.values() for name in group]
    return ForecastConfig(
        horizon=horizon,
        history=24,
        season=season,
        patch=patch,
        quantiles=QUANTILES,
        frequency="h",
        calendar=("day_sin", "day_cos", "week_cos") if covariates else (),
        centres={name: 0.5 * k for k, name in enumerate(flat)},
        spreads={name: 1.0 + k for k, name in enumerate(flat)},
        **names,
    )


def forecast_module(config: ForecastConfig, *, returns: bool = False, seed: int = 0) -> StagedModel:
    """The forecasting network with random weights."""
    sizes = Sizes(token_size=5, hidden_size=7, num_layers=2, dropout=0.4)
    return randomise(StagedModel(forecast_stages(config, sizes, returns=returns)), seed)


def forecast_model(config: ForecastConfig, module: StagedModel | None = None) -> ForecastModel:
    """The same network without torch."""
    module = module or forecast_module(config)
    stages = [stage.to_dict() for stage in module.stages]
    return ForecastModel({"task": "forecast", "forecast": config.to_dict(), "stages": stages}, module.arrays())


def history(config: ForecastConfig, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What :meth:`ForecastModel.predict` takes: holes in target and covariates, hours off the hour."""
    rng = np.random.default_rng(seed)
    y = 100 + 20 * np.sin(np.arange(rows) * np.pi / 2) + rng.normal(size=rows)
    y[rng.random(rows) < 0.2] = np.nan
    given = {"y": y, "ds": (10**6 + np.arange(rows)) * HOUR + HOUR // 3}
    if config.known:
        given["known"] = rng.normal(size=(rows + config.horizon, len(config.known)))
        given["observed"] = rng.normal(size=(rows, len(config.observed)))
        given["observed"][rows // 2] = np.nan
        given["static"] = rng.normal(size=len(config.static))
    return given
