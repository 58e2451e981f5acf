"""The LSTM of 1997, with its squashing functions and its truncated gradient. Gate order i, g, o."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, sigmoid, stop_gradient
from lstmkit.spec import CellSpec


class LSTM1997Weights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (3H, I)
    recurrent: Array  # (3H, H)
    bias: Array | None  # (3H,)


def collect_lstm1997(spec: CellSpec, p: Mapping[str, Array]) -> LSTM1997Weights:
    """One direction's parameters by name."""
    return LSTM1997Weights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"))


def lstm1997_input(xp: Namespace, x: Array, w: LSTM1997Weights) -> Array:
    """What the input ``(T, B, I)`` adds to the gates of all steps."""
    return affine(x, w.input, w.bias)


def lstm1997_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: LSTM1997Weights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Hochreiter & Schmidhuber (1997), section 4, with ``g`` in (-2, 2) and ``h`` in (-1, 1) of appendix A.

    Errors that arrive at the net inputs change the weights there and go no further back in time; the carousel alone
    carries them.
    """
    h, s = state
    H = s.shape[1]
    net = from_input + stop_gradient(h) @ w.recurrent.T
    i, g, o = sigmoid(xp, net[:, :H]), 4 * sigmoid(xp, net[:, H : 2 * H]) - 2, sigmoid(xp, net[:, 2 * H :])
    s = s + i * g
    h = o * (2 * sigmoid(xp, s) - 1)
    return h, (h, s), (i, g, o)
