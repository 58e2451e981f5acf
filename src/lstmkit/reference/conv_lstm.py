"""ConvLSTM: an LSTM at every place of a grid, whose products are convolutions. Gate order i, f, g, o."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

from lstmkit.reference.activations import activate, clip
from lstmkit.reference.arrays import Array, Namespace, split, zeros
from lstmkit.spec import CellSpec, Variant


class ConvLSTMWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (4H, I, *kernel)
    recurrent: Array  # (4H, H, *kernel)
    bias: Array | None  # (4H,)
    padding: str
    variant: Variant  # its activations and its clip


def collect_conv_lstm(spec: CellSpec, p: Mapping[str, Array]) -> ConvLSTMWeights:
    """One direction's parameters by name."""
    return ConvLSTMWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"), spec.padding, spec.variant)


def conv_lstm_input(xp: Namespace, x: Array, w: ConvLSTMWeights) -> Array:
    """What the input ``(T, B, I, *space)`` adds to the gates of all steps."""
    z = _convolve(xp, x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), w.input, w.padding == "same")
    if w.bias is not None:
        z = z + w.bias.reshape(-1, *[1] * (z.ndim - 2))
    return z.reshape(*x.shape[:2], *z.shape[1:])


def conv_lstm_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: ConvLSTMWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Shi et al. (2015), eq. 3, without peepholes. h and c: ``(B, H, *space)``."""
    h, c = state
    H, v = c.shape[1], w.variant
    z = clip(xp, from_input + _convolve(xp, h, w.recurrent, True), v.gate_clip)
    i, f, g, o = split(xp, z, [H, 2 * H, 3 * H], 1)
    i, f, o = (activate(xp, v.gate_activation, gate) for gate in (i, f, o))
    g = activate(xp, v.candidate_activation, g)
    c = f * c + i * g
    h = o * activate(xp, v.cell_activation, c)
    return h, (h, c), (i, f, g, o)


def _convolve(xp: Namespace, x: Array, kernel: Array, same: bool) -> Array:
    """``x (B, C, *space)`` with ``kernel (R, C, *k)``: the sum over the kernel's places of a product each.

    ``same`` keeps the space, with zeros around it; of an even kernel's one more stands behind. torch has the
    rest as one call.
    """
    sizes = kernel.shape[2:]
    around = [(size - 1) // 2 if same else 0 for size in sizes]
    for axis, size in enumerate(sizes, 2):
        if same and size % 2 == 0:
            x = _pad(xp, x, axis, 0, 1)
    if hasattr(xp, "conv1d"):
        return (xp.conv1d, xp.conv2d, xp.conv3d)[len(sizes) - 1](x, kernel, padding=around)
    for axis, width in enumerate(around, 2):
        x = _pad(xp, x, axis, width, width)
    space = [length - size + 1 for length, size in zip(x.shape[2:], sizes, strict=True)]
    total = None
    for place in product(*map(range, sizes)):
        window = x[(slice(None), slice(None), *(slice(p, p + n) for p, n in zip(place, space, strict=True)))]
        part = xp.einsum("rc,bc...->br...", kernel[(slice(None), slice(None), *place)], window)
        total = part if total is None else total + part
    return total


def _pad(xp: Namespace, x: Array, axis: int, before: int, after: int) -> Array:
    def border(size: int) -> Array:
        return zeros(xp, (*x.shape[:axis], size, *x.shape[axis + 1 :]), x)

    return xp.concatenate([border(before), x, border(after)], axis)
