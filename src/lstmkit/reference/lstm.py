"""The LSTM, as its papers write it. Gate order i, f, g, o."""

from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, sigmoid


class Weights(NamedTuple):
    """The parameters of one layer and direction; ``bias`` is the sum of torch's two."""

    input: Array  # (4H, I)
    recurrent: Array  # (4H, R)
    bias: Array | None  # (4H,)
    projection: Array | None  # (P, H)


def lstm_step(
    xp: Namespace, from_input: Array, h: Array, c: Array, w: Weights
) -> tuple[Array, Array, tuple[Array, ...]]:
    """One step: Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000).

    Shape:
        - from_input: ``(B, 4H)``, the input's share ``W x_t + b``, which the driver computes for all steps at once
        - h: ``(B, R)``; c: ``(B, H)``; the gates that come back third: ``(B, H)`` each, after their activation
    """
    z = from_input + h @ w.recurrent.T
    H = c.shape[1]
    i = sigmoid(xp, z[:, :H])
    f = sigmoid(xp, z[:, H : 2 * H])
    g = xp.tanh(z[:, 2 * H : 3 * H])
    o = sigmoid(xp, z[:, 3 * H :])
    c = f * c + i * g
    h = o * xp.tanh(c)
    if w.projection is not None:
        h = h @ w.projection.T
    return h, c, (i, f, g, o)
