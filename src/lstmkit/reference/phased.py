"""Phased LSTM: an LSTM whose units open in rhythms of their own. Gate order i, f, g, o."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, sigmoid
from lstmkit.reference.gates import lstm_update
from lstmkit.spec import CellSpec


class PhasedWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (4H, I)
    recurrent: Array  # (4H, H)
    bias: Array | None  # (4H,)
    log_period: Array  # (H,), of tau
    shift: Array  # (H,), s
    ratio_logit: Array  # (H,), of r: the part of a period in which a unit is open
    leak: float


def collect_phased(spec: CellSpec, p: Mapping[str, Array]) -> PhasedWeights:
    """One direction's parameters by name."""
    rhythm = p["log_period"], p["shift"], p["ratio_logit"]
    return PhasedWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"), *rhythm, spec.leak)


def phased_input(xp: Namespace, x: Array, w: PhasedWeights) -> Array:
    """What the input ``(T, B, I)`` adds to the gates of all steps, and how far each unit is open at its time."""
    features, times = x[..., :-1], x[..., -1:]
    return xp.concatenate([affine(features, w.input, w.bias), _openness(xp, times, w)], x.ndim - 1)


def _openness(xp: Namespace, times: Array, w: PhasedWeights) -> Array:
    """The openness ``k`` for times ``(..., 1)``: a rising half, a falling half, and a leak while closed."""
    turns = (times - w.shift) / xp.exp(w.log_period)
    phase = turns - xp.floor(turns)
    ratio = sigmoid(xp, w.ratio_logit)
    rising, falling = 2 * phase / ratio, 2 - 2 * phase / ratio
    return xp.where(phase < ratio / 2, rising, xp.where(phase < ratio, falling, w.leak * phase))


def phased_step(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: PhasedWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Neil, Pfeiffer & Liu (2016), without peepholes: an LSTM's step, as far as a unit is open."""
    h, c = state
    H = c.shape[1]
    k = prepared[:, 4 * H :]
    h_new, c_new, gates = lstm_update(xp, prepared[:, : 4 * H] + h @ w.recurrent.T, c)
    h = k * h_new + (1 - k) * h
    c = k * c_new + (1 - k) * c
    return h, (h, c), (*gates, k)
