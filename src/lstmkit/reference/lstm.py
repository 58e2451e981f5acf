"""The LSTM, as its papers write it. Gate order i, f, g, o."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, sigmoid
from lstmkit.spec import CellSpec


class Weights(NamedTuple):
    """The parameters of one layer and direction; ``bias`` is the sum of torch's two."""

    input: Array  # (4H, I)
    recurrent: Array  # (4H, R)
    bias: Array | None  # (4H,)
    projection: Array | None  # (P, H)


def collect_lstm(spec: CellSpec, p: Mapping[str, Array]) -> Weights:
    """One direction's parameters by torch's names."""
    return Weights(
        input=p["weight_ih"],
        recurrent=p["weight_hh"],
        bias=p["bias_ih"] + p["bias_hh"] if spec.bias else None,
        projection=p["weight_hr"] if spec.proj_size else None,
    )


def lstm_input(xp: Namespace, x: Array, w: Weights) -> Array:
    """What the input ``(T, B, I)`` adds to the gates of all steps: ``W x_t + b``, ``(T, B, 4H)``."""
    return affine(x, w.input, w.bias)


def lstm_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: Weights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000).

    Shape:
        - from_input: ``(B, 4H)``, the input's share ``W x_t + b``, which the driver computes for all steps at once
        - state: h ``(B, R)`` and c ``(B, H)``; the gates that come back third: ``(B, H)`` each, after their activation
    """
    h, c = state
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
    return h, (h, c), (i, f, g, o)


def lstm_step_backward(
    xp: Namespace,
    dh: Array,
    dc: Array,
    gates: Array,
    c_before: Array,
    tanh_c: Array,
    w: Weights,
    dgates: Array | None = None,
) -> tuple[Array, Array]:
    """Gradients of one step with respect to its pre-activations ``(B, 4H)`` and the cell state before it ``(B, H)``.

    Shape:
        - dh: ``(B, R)``; dc, c_before, tanh_c: ``(B, H)``; gates, dgates: ``(4, B, H)``, after the activation
    """
    i, f, g, o = gates
    if w.projection is not None:
        dh = dh @ w.projection
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    di, df, dg, do = dc * g, dc * c_before, dc * i, dh * tanh_c
    if dgates is not None:
        di, df, dg, do = di + dgates[0], df + dgates[1], dg + dgates[2], do + dgates[3]
    dz = xp.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)], 1)
    return dz, dc * f
