"""The sLSTM of xLSTM: exponential gates, a normaliser, a stabiliser that keeps all finite. Gate order i, f, z, o."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, log_sigmoid, sigmoid
from lstmkit.spec import CellSpec


class SLSTMWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (4H, I)
    recurrent: Array  # (4H, S): a unit sees the S units of its own head
    bias: Array | None  # (4H,)
    num_heads: int


def collect_slstm(spec: CellSpec, p: Mapping[str, Array]) -> SLSTMWeights:
    """One direction's parameters by name."""
    return SLSTMWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"), spec.num_heads)


def slstm_input(xp: Namespace, x: Array, w: SLSTMWeights) -> Array:
    """What the input ``(T, B, I)`` adds to the gates of all steps."""
    return affine(x, w.input, w.bias)


def slstm_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: SLSTMWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Beck et al. (2024), eq. 8-17, with the forget gate ``sigmoid`` of eq. 13.

    The gates that come back are the stabilised ones of eq. 16 and 17. A unit with ``n = 0`` remembers nothing, so its
    stabiliser begins at its input gate.
    """
    h, c, n, m = state
    B, H = h.shape
    S = H // w.num_heads
    blocks = w.recurrent.reshape(4, w.num_heads, S, S)
    z = from_input + xp.einsum("bnk,gnsk->bgns", h.reshape(B, w.num_heads, S), blocks).reshape(B, 4 * H)
    i, f, z, o = z[:, :H], z[:, H : 2 * H], xp.tanh(z[:, 2 * H : 3 * H]), sigmoid(xp, z[:, 3 * H :])
    kept = xp.where(n == 0, i, log_sigmoid(xp, f) + m)
    m = xp.maximum(kept, i)
    i, f = xp.exp(i - m), xp.exp(kept - m)
    c = f * c + i * z
    n = f * n + i
    h = o * c / n
    return h, (h, c, n, m), (i, f, z, o)
