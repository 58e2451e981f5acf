"""Stages that only forecasting windows need: scaling, patches, seasons and quantiles.

Legend: ``B`` windows, ``L`` steps of history, ``H`` horizon, ``P`` steps per patch, ``S`` season, ``Q`` quantiles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Array = Any
Options = Mapping[str, Any]

# A window that hardly moves is scaled by a sliver of its level, so that nothing is divided by zero.
_RELATIVE_FLOOR, _ABSOLUTE_FLOOR = 1e-6, 1e-30
_TINY = 1e-12


def window_scale(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> tuple[Array, ...]:
    """Target (B, L), NaN where missing -> standardised (B, L), mask (B, L), location (B, 1), scale (B, 1).

    The statistics are those of the window's own observed history, so every series comes on one scale
    and no future value is seen (reversible instance normalisation, Kim et al., ICLR 2022). They are
    taken in the precision of the target (float64), the standardised values leave in float32. The
    location is the mean, or with ``centre="last"`` the last observed value, from which prices move.
    """
    target = inputs[0]
    observed = xp.isfinite(target)
    mask = xp.where(observed, xp.ones_like(target), 0.0)
    target = xp.where(observed, target, 0.0)
    count = mask.sum(1)[:, None].clip(1)
    mean = target.sum(1)[:, None] / count
    variance = (((target - mean) * mask) ** 2).sum(1)[:, None] / count
    scale = variance**0.5 + _RELATIVE_FLOOR * abs(mean) + _ABSOLUTE_FLOOR
    location = _last_observed(target, mask) if options.get("centre") == "last" else mean
    return _single(xp, (target - location) * mask / scale), _single(xp, mask), location, scale


def _last_observed(target: Array, mask: Array) -> Array:
    """(B, L) -> (B, 1); 0 where nothing is observed."""
    last = mask * (mask.cumsum(1) == mask.sum(1)[:, None])
    return (target * last).sum(1)[:, None]


def _single(xp: Any, x: Array) -> Array:
    """In float32; torch's ``asarray`` would lose the gradient."""
    return x.astype(xp.float32) if hasattr(x, "astype") else x.to(xp.float32)


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


def every_step(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, F) -> (B, 1, F), ready to be added to every step of a sequence."""
    return inputs[0][:, None]


def unpatch(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, K, P * Q) -> (B, H, Q)."""
    x = inputs[0]
    return x.reshape(x.shape[0], -1, options["quantiles"])[:, : options["horizon"]]


def season_mix(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Scores (B, K, L / S), standardised history and mask (B, L) -> (B, H, 1): past seasons, mixed anew for each patch.

    Every future step is a weighted mean of the observed values at its own phase of the past seasons,
    with weights that the window's scores decide and that sum to one; to it comes a fixed linear
    combination of the same values, which may have any sign.
    """
    scores, z, mask = inputs
    share = xp.exp(scores - xp.amax(scores, -1)[..., None]).swapaxes(1, 2)[..., None]
    share = share * _echoes(mask, scores.shape, options)
    share = share / (share.sum(1)[:, None] + _TINY) + weights["weight"].T[..., None]
    total = (share * _echoes(z, scores.shape, options)).sum(1)
    return total.reshape(z.shape[0], -1)[:, : options["horizon"], None]


def _echoes(values: Array, shape: tuple[int, int, int], options: Options) -> Array:
    """(B, L) -> (B, L / S, K, P): for every future step, the values at its phase of each past season."""
    batch, tokens, seasons = shape
    phase = [step % options["season"] for step in range(tokens * options["patch"])]
    return values.reshape(batch, seasons, -1)[:, :, phase].reshape(batch, seasons, tokens, -1)


def shift(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, H, Q) plus one stored number per step and quantile: the conformal calibration."""
    return inputs[0] + weights["offset"]


def restore(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Quantiles (B, H, Q) in window units, location (B, 1), scale (B, 1) -> quantiles in the user's units, in order."""
    quantiles, location, scale = inputs
    ordered = xp.sort(quantiles, -1)
    # torch answers with values and indices, NumPy with values alone.
    values = ordered if hasattr(ordered, "shape") else ordered[0]
    return values * scale[..., None] + location[..., None]


def logarithm(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Logarithm of a positive target; missing values stay missing, and what has no logarithm is missing."""
    x = inputs[0]
    return xp.log(xp.where(x > 0, x, float("nan")))


def exponential(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """The inverse of :func:`logarithm`."""
    return xp.exp(inputs[0])
