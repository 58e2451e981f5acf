"""T-LSTM: a memory of which a part fades with the time that has passed. Gate order i, f, g, o."""

from collections.abc import Mapping
from math import e
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine
from lstmkit.reference.gates import lstm_update
from lstmkit.spec import CellSpec


class TimeAwareWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (4H, I)
    recurrent: Array  # (4H, H)
    bias: Array | None  # (4H,)
    decompose: Array  # (H, H)
    bias_decompose: Array | None  # (H,)


def collect_time_aware(spec: CellSpec, p: Mapping[str, Array]) -> TimeAwareWeights:
    """One direction's parameters by name."""
    return TimeAwareWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"), p["weight_d"], p.get("bias_d"))


def time_aware_input(xp: Namespace, x: Array, w: TimeAwareWeights) -> Array:
    """What the input ``(T, B, I)`` adds to the gates of all steps, and ``1 / log(e + interval)``."""
    features, interval = x[..., :-1], x[..., -1:]
    return xp.concatenate([affine(features, w.input, w.bias), 1 / xp.log(e + interval)], x.ndim - 1)


def time_aware_step(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: TimeAwareWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Baytas et al. (2017): the short-term part of the memory fades, the rest stays."""
    h, c = state
    fading = prepared[:, -1:]
    short = xp.tanh(affine(c, w.decompose, w.bias_decompose))
    c = (c - short) + short * fading
    h, c, gates = lstm_update(xp, prepared[:, :-1] + h @ w.recurrent.T, c)
    return h, (h, c), gates
