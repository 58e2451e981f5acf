"""Stages that only forecasting windows need: scaling, patches, seasons and quantiles.

Legend: ``B`` windows, ``L`` steps of history, ``H`` horizon, ``P`` steps per patch, ``S`` season, ``Q`` quantiles.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

Array = Any
Options = Mapping[str, Any]
Shapes = dict[str, tuple[int, ...]]

# A window that hardly moves is scaled by a sliver of its level, so that nothing is divided by zero.
_RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 1e-5, 1e-6


def window_scale(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> tuple[Array, ...]:
    """Target (B, L), NaN where missing -> standardised (B, L), mask (B, L), location (B, 1), scale (B, 1).

    The statistics are those of the window's own observed history, so every series comes on one scale
    and no future value is seen (reversible instance normalisation, Kim et al., ICLR 2022). They are
    taken in the precision of the target (float64), the standardised values leave in float32.
    """
    target = inputs[0]
    observed = xp.isfinite(target)
    mask = xp.where(observed, xp.ones_like(target), 0.0)
    target = xp.where(observed, target, 0.0)
    count = mask.sum(1)[:, None].clip(1)
    location = target.sum(1)[:, None] / count
    centred = (target - location) * mask
    spread = ((centred * centred).sum(1)[:, None] / count) ** 0.5
    scale = spread + _RELATIVE_FLOOR * abs(location) + _ABSOLUTE_FLOOR
    single = partial(xp.asarray, dtype=xp.float32)
    return single(centred / scale), single(mask), location, scale


def patches(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Channels (B, L) or (B, L, F) -> (B, ceil(L / P), P * all channels), zeros after the last step."""
    x = xp.concatenate([x[..., None] if len(x.shape) == 2 else x for x in inputs], axis=-1)
    batch, steps, features = x.shape
    length = options["length"]
    short = -steps % length
    if short:
        x = xp.concatenate([x, xp.broadcast_to(xp.zeros_like(x[:, :1]), (batch, short, features))], axis=1)
    return x.reshape(batch, (steps + short) // length, length * features)


def queries(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Any (B, ...) -> (B, steps, features): one learned token per future patch."""
    return xp.broadcast_to(weights["weight"][None], (inputs[0].shape[0], options["steps"], options["features"]))


def queries_shapes(options: Options) -> Shapes:
    """Parameters of :func:`queries`."""
    return {"weight": (options["steps"], options["features"])}


def every_step(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, F) -> (B, 1, F), ready to be added to every step of a sequence."""
    return inputs[0][:, None]


def unpatch(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, K, P * Q) -> (B, H, Q)."""
    x = inputs[0]
    return x.reshape(x.shape[0], -1, options["quantiles"])[:, : options["horizon"]]


def seasonal_linear(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Standardised (B, L) -> (B, H, 1): each future season is a weighted mean of the past seasons, phase by phase.

    One weight per pair of seasons, shared by all phases (the sparse path of SparseTSF, Lin et al., ICML 2024).
    """
    z = inputs[0]
    by_season = z.reshape(z.shape[0], -1, options["season"])
    ahead = weights["weight"] @ by_season
    return ahead.reshape(z.shape[0], -1)[:, : options["horizon"], None]


def seasonal_linear_shapes(options: Options) -> Shapes:
    """Parameters of :func:`seasonal_linear`."""
    season = options["season"]
    return {"weight": (-(-options["horizon"] // season), options["history"] // season)}


def shift(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, H, Q) plus one stored number per step and quantile: the conformal calibration."""
    return inputs[0] + weights["offset"]


def shift_shapes(options: Options) -> Shapes:
    """Parameters of :func:`shift`."""
    return {"offset": (options["horizon"], options["quantiles"])}


def restore(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Quantiles (B, H, Q) in window units, location (B, 1), scale (B, 1) -> quantiles in the user's units, in order."""
    quantiles, location, scale = inputs
    ordered = xp.sort(quantiles, -1)
    # torch answers with values and indices, NumPy with values alone.
    values = ordered if hasattr(ordered, "shape") else ordered[0]
    return values * scale[..., None] + location[..., None]


def logarithm(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Logarithm of a positive target; missing values stay missing."""
    return xp.log(inputs[0])


def exponential(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """The inverse of :func:`logarithm`."""
    return xp.exp(inputs[0])
