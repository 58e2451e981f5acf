"""What the cells that end as an LSTM does share. Gate order i, f, g, o."""

from lstmkit.reference.arrays import Array, Namespace, sigmoid


def lstm_update(xp: Namespace, z: Array, c: Array) -> tuple[Array, Array, tuple[Array, ...]]:
    """From pre-activations ``z (B, 4H)`` and the cell state ``c (B, H)`` to h, c and the gates."""
    H = c.shape[1]
    i, f = sigmoid(xp, z[:, :H]), sigmoid(xp, z[:, H : 2 * H])
    g, o = xp.tanh(z[:, 2 * H : 3 * H]), sigmoid(xp, z[:, 3 * H :])
    c = f * c + i * g
    return o * xp.tanh(c), c, (i, f, g, o)
