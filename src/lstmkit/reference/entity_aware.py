"""EA-LSTM: what stays the same of a sequence decides what its units may store. Gate order i; f, g, o."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, sigmoid
from lstmkit.spec import CellSpec


class EntityAwareWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (3H, I)
    recurrent: Array  # (3H, H)
    bias: Array | None  # (3H,)
    static: Array  # (H, E)
    bias_static: Array | None  # (H,)


def collect_entity_aware(spec: CellSpec, p: Mapping[str, Array]) -> EntityAwareWeights:
    """One direction's parameters by name."""
    return EntityAwareWeights(p["weight_ih"], p["weight_hh"], p.get("bias_ih"), p["weight_sh"], p.get("bias_sh"))


def entity_aware_input(xp: Namespace, x: Array, w: EntityAwareWeights) -> Array:
    """What the input ``(T, B, I)`` adds to three gates of all steps, and the input gate, by the static features."""
    I = w.input.shape[1]  # noqa: E741
    i = sigmoid(xp, affine(x[..., I:], w.static, w.bias_static))
    return xp.concatenate([affine(x[..., :I], w.input, w.bias), i], x.ndim - 1)


def entity_aware_step(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: EntityAwareWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Kratzert et al. (2019)."""
    h, c = state
    H = c.shape[1]
    z, i = prepared[:, : 3 * H] + h @ w.recurrent.T, prepared[:, 3 * H :]
    f, g, o = sigmoid(xp, z[:, :H]), xp.tanh(z[:, H : 2 * H]), sigmoid(xp, z[:, 2 * H :])
    c = f * c + i * g
    h = o * xp.tanh(c)
    return h, (h, c), (i, f, g, o)
