"""minLSTM and minGRU: gates that see the input alone, so that all steps can be had in one scan."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, log_sigmoid, sigmoid, split
from lstmkit.reference.chunks import scan
from lstmkit.reference.steps import Steps
from lstmkit.spec import CellSpec

Gates = tuple[Array, ...]


class MinimalWeights(NamedTuple):
    """The parameters of one layer and direction."""

    input: Array  # (G*H, I)
    bias: Array | None  # (G*H,)


def collect_minimal(spec: CellSpec, p: Mapping[str, Array]) -> MinimalWeights:
    """One direction's parameters by name."""
    return MinimalWeights(p["weight_ih"], p.get("bias_ih"))


def minimal_input(xp: Namespace, x: Array, w: MinimalWeights) -> Array:
    """The gates of all steps ``(T, B, I)`` before their activation."""
    return affine(x, w.input, w.bias)


def _minlstm_gates(xp: Namespace, z: Array) -> Gates:
    """i and f, which add up to 1: ``f / (f + i)`` by logarithms, so that two closed gates are no 0 / 0."""
    H = z.shape[-1] // 3
    i, f, g = split(xp, z, [H, 2 * H])
    f = sigmoid(xp, log_sigmoid(xp, f) - log_sigmoid(xp, i))
    return 1 - f, f, g


def minlstm_step(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: MinimalWeights
) -> tuple[Array, tuple[Array, ...], Gates]:
    """One step: Feng et al. (2024), section 3.2, with gates normalised so that the state keeps its scale."""
    i, f, g = _minlstm_gates(xp, prepared)
    h = f * state[0] + i * g
    return h, (h,), (i, f, g)


def minlstm_whole(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: MinimalWeights, steps: Steps, chunk: int, gates: bool
) -> tuple[Array, tuple[Array, ...], Gates]:
    """Many steps at once."""
    i, f, g = _minlstm_gates(xp, prepared)
    h = _scan(xp, f, i * g, state[0], steps, chunk)
    return h, (h[-1],), (i, f, g)


def _mingru_gates(xp: Namespace, prepared: Array) -> Gates:
    z, g = split(xp, prepared, [prepared.shape[-1] // 2])
    return sigmoid(xp, z), g


def mingru_step(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: MinimalWeights
) -> tuple[Array, tuple[Array, ...], Gates]:
    """One step: Feng et al. (2024), section 3.1; here ``z`` lets the new in."""
    z, g = _mingru_gates(xp, prepared)
    h = (1 - z) * state[0] + z * g
    return h, (h,), (z, g)


def mingru_whole(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: MinimalWeights, steps: Steps, chunk: int, gates: bool
) -> tuple[Array, tuple[Array, ...], Gates]:
    """Many steps at once."""
    z, g = _mingru_gates(xp, prepared)
    h = _scan(xp, 1 - z, z * g, state[0], steps, chunk)
    return h, (h[-1],), (z, g)


def _scan(xp: Namespace, keep: Array, add: Array, first: Array, steps: Steps, chunk: int) -> Array:
    """A scan that passes the state through padding and drops it at walls."""
    if steps.active is not None:
        keep, add = xp.where(steps.active, keep, 1.0), xp.where(steps.active, add, 0.0)
    if steps.resets is not None:
        keep = xp.where(steps.resets, 0.0, keep)
    return scan(xp, keep, add, first, chunk)
