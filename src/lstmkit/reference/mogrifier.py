"""Mogrifier LSTM: input and past gate each other in turn before an LSTM sees them. Gate order i, f, g, o."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, sigmoid
from lstmkit.reference.gates import lstm_update
from lstmkit.spec import CellSpec


class MogrifierWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (4H, I)
    recurrent: Array  # (4H, H)
    bias: Array | None  # (4H,)
    odd: list[Array]  # (I, H) each: Q of the rounds 1, 3 ...
    even: list[Array]  # (H, I) each: R of the rounds 2, 4 ...


def collect_mogrifier(spec: CellSpec, p: Mapping[str, Array]) -> MogrifierWeights:
    """One direction's parameters by name; Q and R may come as products of low rank."""
    if spec.rank:
        odd, even = p["weight_q_left"] @ p["weight_q_right"], p["weight_r_left"] @ p["weight_r_right"]
    else:
        odd, even = p["weight_q"], p["weight_r"]
    rounds = [odd[k] for k in range((spec.rounds + 1) // 2)], [even[k] for k in range(spec.rounds // 2)]
    return MogrifierWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"), *rounds)


def mogrifier_input(xp: Namespace, x: Array, w: MogrifierWeights) -> Array:
    """The input as it is: the past changes it before anything else does."""
    return x


def mogrifier_step(
    xp: Namespace, x: Array, state: tuple[Array, ...], w: MogrifierWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Melis, Kocisky & Blunsom (2020), eq. 1 and 2, then an LSTM."""
    h, c = state
    for k, Q in enumerate(w.odd):
        x = 2 * sigmoid(xp, h @ Q.T) * x
        if k < len(w.even):
            h = 2 * sigmoid(xp, x @ w.even[k].T) * h
    z = x @ w.input.T + h @ w.recurrent.T
    h, c, gates = lstm_update(xp, z if w.bias is None else z + w.bias, c)
    return h, (h, c), gates
