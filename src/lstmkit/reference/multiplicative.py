"""Multiplicative LSTM: what the input and the past make together stands where the past stood. Gate order i, f, g, o."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine
from lstmkit.reference.gates import lstm_update
from lstmkit.spec import CellSpec


class MultiplicativeWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (4H, I)
    middle: Array  # (4H, H)
    bias: Array | None  # (4H,)
    middle_input: Array  # (H, I)
    middle_recurrent: Array  # (H, H)


def collect_multiplicative(spec: CellSpec, p: Mapping[str, Array]) -> MultiplicativeWeights:
    """One direction's parameters by name."""
    return MultiplicativeWeights(p["weight_ih"], p["weight_mh"], p.get("bias_ih"), p["weight_im"], p["weight_hm"])


def multiplicative_input(xp: Namespace, x: Array, w: MultiplicativeWeights) -> Array:
    """What the input ``(T, B, I)`` adds to the gates, and its factor of ``m``, side by side."""
    return xp.concatenate([affine(x, w.input, w.bias), affine(x, w.middle_input, None)], x.ndim - 1)


def multiplicative_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: MultiplicativeWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Krause et al. (2016), with the output of an LSTM."""
    h, c = state
    H = c.shape[1]
    m = from_input[:, 4 * H :] * (h @ w.middle_recurrent.T)
    h, c, gates = lstm_update(xp, from_input[:, : 4 * H] + m @ w.middle.T, c)
    return h, (h, c), gates
