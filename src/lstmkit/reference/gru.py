"""The gated recurrent unit in both conventions. Gate order r, z, n, as torch has it."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.activations import activate, clip
from lstmkit.reference.arrays import Array, Namespace, affine
from lstmkit.spec import CellSpec, Variant


class GRUWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (3H, I)
    recurrent: Array  # (3H, H)
    bias_input: Array | None  # (3H,)
    bias_recurrent: Array | None  # (3H,), its last third inside the reset if that comes after the product
    reset_after: bool
    variant: Variant  # its activations and its clip


def collect_gru(spec: CellSpec, p: Mapping[str, Array]) -> GRUWeights:
    """One direction's parameters by torch's names."""
    biases = p.get("bias_ih"), p.get("bias_hh")
    return GRUWeights(p["weight_ih"], p["weight_hh"], *biases, spec.reset_after, spec.variant)


def gru_input(xp: Namespace, x: Array, w: GRUWeights) -> Array:
    """What the input ``(T, B, I)`` adds to the gates of all steps."""
    return affine(x, w.input, w.bias_input)


def gru_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: GRUWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Cho et al. (2014), eq. 5-8, where ``z`` keeps the old state.

    With ``reset_after`` the candidate is ``tanh(W x + b + r * (U h + d))``, as cuDNN and torch compute it;
    without, it is ``tanh(W x + b + U (r * h) + d)``, as the published paper writes it. Other activations and a clip of
    what they read are those of ONNX's GRU.
    """
    (h,) = state
    H, v = h.shape[1], w.variant
    U, d = w.recurrent, w.bias_recurrent
    u = affine(h, U, d) if w.reset_after else affine(h, U[: 2 * H], None if d is None else d[: 2 * H])
    r = activate(xp, v.gate_activation, clip(xp, from_input[:, :H] + u[:, :H], v.gate_clip))
    z = activate(xp, v.gate_activation, clip(xp, from_input[:, H : 2 * H] + u[:, H : 2 * H], v.gate_clip))
    remembered = r * u[:, 2 * H :] if w.reset_after else affine(r * h, U[2 * H :], None if d is None else d[2 * H :])
    n = activate(xp, v.candidate_activation, clip(xp, from_input[:, 2 * H :] + remembered, v.gate_clip))
    h = (1 - z) * n + z * h
    return h, (h,), (r, z, n)
