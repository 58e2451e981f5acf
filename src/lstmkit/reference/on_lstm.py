"""ON-LSTM: ordered neurons, of which the low ones are forgotten first. Gate order i, f, g, o; masters f, i."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, sigmoid
from lstmkit.spec import CellSpec


class ONLSTMWeights(NamedTuple):
    """The parameters of one layer and direction; M = H / chunk_size master units, f before i."""

    input: Array  # (4H, I)
    recurrent: Array  # (4H, H)
    bias: Array | None  # (4H,)
    master_input: Array  # (2M, I)
    master_recurrent: Array  # (2M, H)
    master_bias: Array | None  # (2M,)


def collect_on_lstm(spec: CellSpec, p: Mapping[str, Array]) -> ONLSTMWeights:
    """One direction's parameters by name."""
    master = p["weight_master_ih"], p["weight_master_hh"], p.get("bias_master_ih")
    return ONLSTMWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"), *master)


def on_lstm_input(xp: Namespace, x: Array, w: ONLSTMWeights) -> Array:
    """What the input ``(T, B, I)`` adds to gates and masters of all steps, side by side."""
    return xp.concatenate([affine(x, w.input, w.bias), affine(x, w.master_input, w.master_bias)], x.ndim - 1)


def on_lstm_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: ONLSTMWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Shen et al. (2019), eq. 9-14; a master unit speaks for ``chunk_size`` units."""
    h, c = state
    H, M = c.shape[1], w.master_input.shape[0] // 2
    z = from_input[:, : 4 * H] + h @ w.recurrent.T
    masters = from_input[:, 4 * H :] + h @ w.master_recurrent.T
    i, f = sigmoid(xp, z[:, :H]), sigmoid(xp, z[:, H : 2 * H])
    g, o = xp.tanh(z[:, 2 * H : 3 * H]), sigmoid(xp, z[:, 3 * H :])
    master_f = _spread(xp, _cumax(xp, masters[:, :M]), c)
    master_i = _spread(xp, 1 - _cumax(xp, masters[:, M:]), c)
    overlap = master_f * master_i
    f_hat = f * overlap + (master_f - overlap)
    i_hat = i * overlap + (master_i - overlap)
    c = f_hat * c + i_hat * g
    h = o * xp.tanh(c)
    return h, (h, c), (i, f, g, o, master_i, master_f)


def _cumax(xp: Namespace, z: Array) -> Array:
    """The cumulative sum of a softmax: the probability that a border lies at or before each unit."""
    e = xp.exp(z - xp.amax(z, 1)[:, None])
    return xp.cumsum(e / e.sum(1)[:, None], 1)


def _spread(xp: Namespace, master: Array, like: Array) -> Array:
    B, M = master.shape
    return (master[:, :, None] * xp.ones_like(like).reshape(B, M, like.shape[1] // M)).reshape(like.shape)
