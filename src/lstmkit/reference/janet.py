"""JANET: an LSTM with nothing but a forget gate. Gate order f, g."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, sigmoid
from lstmkit.spec import CellSpec


class JanetWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (2H, I)
    recurrent: Array  # (2H, H)
    bias: Array | None  # (2H,)
    beta: float


def collect_janet(spec: CellSpec, p: Mapping[str, Array]) -> JanetWeights:
    """One direction's parameters by name."""
    return JanetWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"), spec.beta)


def janet_input(xp: Namespace, x: Array, w: JanetWeights) -> Array:
    """What the input ``(T, B, I)`` adds to the gates of all steps."""
    return affine(x, w.input, w.bias)


def janet_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: JanetWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: van der Westhuizen & Lasenby (2018); ``beta`` lets in more than what is forgotten."""
    (c,) = state
    H = c.shape[1]
    z = from_input + c @ w.recurrent.T
    s, g = z[:, :H], xp.tanh(z[:, H:])
    f = sigmoid(xp, s)
    h = f * c + (1 - sigmoid(xp, s - w.beta)) * g
    return h, (h,), (f, g)
