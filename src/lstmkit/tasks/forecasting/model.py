"""The forecasting network, as stages.

The history is scaled by its own statistics and cut into patches; each patch is one token of an
LSTM, which then reads one query per future patch (learned, and joined by what is known ahead) and
answers each with weights that mix the past seasons, and with quantiles around that mixture.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from lstmkit.runtime import ForecastConfig, Stage, StagePlan
from lstmkit.spec import CellSpec

if TYPE_CHECKING:
    from lstmkit.nn.stages import StagedModel

QUANTILES = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)

# Spread of the first, untrained quantiles in units of the window's scale.
_FIRST_SPREAD = 0.6


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network; the defaults serve every data set of the benchmarks.

    Args:
        token_size: Features of one token.
        hidden_size: Units of the LSTM.
        num_layers: Layers of the LSTM.
        dropout: Part of the LSTM's outputs that is dropped in training.
    """

    token_size: int = 64
    hidden_size: int = 128
    num_layers: int = 1
    dropout: float = 0.3


def forecast_stages(config: ForecastConfig, sizes: Sizes, *, returns: bool = False) -> list[Stage]:
    """The network for windows of this kind; its last stage is the forecast in the user's units.

    Args:
        config: The windows.
        sizes: The network's sizes.
        returns: Whether the target is a price: its logarithm is then forecast as a move away from the last
            price, and no past season is mixed in.
    """
    plan = StagePlan()
    target = plan.add("log_target", "logarithm", "target") if returns else "target"
    plan.add("scaled", "window_scale", target, centre="last" if returns else "mean")
    tokens = _tokens(plan, config, sizes.token_size)
    cell = CellSpec(sizes.token_size, sizes.hidden_size, sizes.num_layers).to_dict()
    plan.add("lstm", "recurrent", tokens, cell=cell, dropout=sizes.dropout if sizes.num_layers > 1 else 0.0)
    plan.add("ahead", "last_steps", "lstm", steps=config.future_tokens)
    plan.add("thinned", "dropout", "ahead", rate=sizes.dropout)
    count = len(config.quantiles)
    plan.add("head", "linear", "thinned", features=sizes.hidden_size, units=config.patch * count)
    terms = [plan.add("moves", "unpatch", "head", horizon=config.horizon, quantiles=count)]
    if not returns:
        terms.append(_past_seasons(plan, config, sizes))
    plan.add("quantiles", "add", *terms)
    plan.add("calibrated", "shift", "quantiles", horizon=config.horizon, quantiles=count)
    plan.add("forecast", "restore", "calibrated", "scaled.location", "scaled.scale")
    if returns:
        plan.add("prices", "exponential", "forecast")
    return plan.stages


def _past_seasons(plan: StagePlan, config: ForecastConfig, sizes: Sizes) -> str:
    """The mixture of past seasons that the LSTM's answers ask for."""
    seasons = config.history // config.season
    plan.add("season_scores", "linear", "thinned", features=sizes.hidden_size, units=seasons)
    mix = {"season": config.season, "seasons": seasons, "patch": config.patch, "horizon": config.horizon}
    return plan.add("seasons", "season_mix", "season_scores", "scaled", "scaled.mask", **mix)


def _tokens(plan: StagePlan, config: ForecastConfig, units: int) -> str:
    """Past patches and future queries in one sequence, with calendar and static covariates on all of it."""
    past, ahead = len(config.known) + len(config.observed), len(config.known)
    plan.add("patches", "patches", "scaled", "scaled.mask", *(["history"] if past else []), length=config.patch)
    plan.add("embedded", "linear", "patches", features=config.patch * (2 + past), units=units)
    plan.add("past", "relu", "embedded")
    future = plan.add("queries", "queries", "scaled", steps=config.future_tokens, features=units)
    if ahead:
        plan.add("future_patches", "patches", "future", length=config.patch)
        plan.add("expected", "linear", "future_patches", features=config.patch * ahead, units=units)
        future = plan.add("informed", "add", "queries", "expected")
    terms = [plan.add("joined", "join_steps", "past", future)]
    if config.calendar:
        terms.append(plan.add("dated", "linear", "calendar", features=len(config.calendar), units=units))
    if config.static:
        plan.add("described", "linear", "static", features=len(config.static), units=units)
        terms.append(plan.add("everywhere", "every_step", "described"))
    return plan.add("tokens", "add", *terms) if len(terms) > 1 else terms[0]


def start_weights(module: "StagedModel", config: ForecastConfig) -> None:
    """Begin near a sensible forecast: the mean of the past seasons, with the quantiles of a normal distribution."""
    from torch import nn, no_grad, tensor

    weights = module.stage_weights()
    with no_grad():
        nn.init.normal_(weights["queries"]["weight"], std=0.5)
        weights["head"]["weight"].mul_(0.1)
        normal = NormalDist(0, _FIRST_SPREAD)
        first = tensor([normal.inv_cdf(level) for level in config.quantiles])
        weights["head"]["bias"].copy_(first.repeat(config.patch))
