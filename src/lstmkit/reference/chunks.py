"""The driver of the cells that take many steps at once: chunks side by side, and what they share."""

from math import isqrt
from typing import TYPE_CHECKING, Any

from lstmkit.reference.arrays import Array, Namespace, split, zeros
from lstmkit.reference.steps import Steps, widen
from lstmkit.spec import OptionError

if TYPE_CHECKING:
    from lstmkit.reference.cells import Cell

# Chunks side by side: enough that an operation on all of them outweighs its call, few enough that what they leave stays
# in the caches, and that memory does not grow with time.
_CHUNKS_AT_ONCE = 16


def run_chunks(
    xp: Namespace,
    cell: "Cell",
    w: Any,
    x: Array,
    state: tuple[Array, ...],
    steps: Steps,
    *,
    backwards: bool,
    gates: bool,
    chunk: int,
) -> tuple[Any, ...]:
    """One direction over ``x (T, B, I)``: output, last states, no cells, gates ``(G, T, B, H)`` where wanted."""
    if cell.whole is None:
        raise OptionError("this cell takes one step after the other; it has no chunks")
    active, resets = steps
    if backwards:
        x, active = xp.flip(x, (0,)), None if active is None else xp.flip(active, (0,))
        resets = None if resets is None else _flip_walls(xp, resets)
    prepared = cell.prepare(xp, x, w)
    outputs: list[Array] = []
    all_gates: list[Array] = []
    starts = list(range(0, x.shape[0], chunk * _CHUNKS_AT_ONCE))
    for t, now in zip(starts, split(xp, prepared, starts[1:], 0), strict=True):
        same = slice(t, t + now.shape[0])
        part = Steps(None if active is None else active[same], None if resets is None else resets[same])
        output, state, values = cell.whole(xp, now, state, w, part, chunk, gates)
        outputs.append(output)
        if gates:
            all_gates.append(xp.stack(values))
    output = _along_time(xp, outputs, 0, active, backwards)
    return output, state, None, _along_time(xp, all_gates, 1, active, backwards) if gates else None


def _along_time(xp: Namespace, values: list[Array], axis: int, active: Array | None, backwards: bool) -> Array:
    joined = values[0] if len(values) == 1 else xp.concatenate(values, axis)
    if active is not None:
        joined = xp.where(widen(active, joined, axis), joined, 0.0)
    return xp.flip(joined, (axis,)) if backwards else joined


def _flip_walls(xp: Namespace, resets: Array) -> Array:
    """A wall between t-1 and t, seen from the end."""
    return xp.concatenate([xp.zeros_like(resets[:1]), xp.flip(resets[1:], (0,))])


def in_chunks(xp: Namespace, value: Array, length: int, fill: float) -> Array:
    """``(T, ...)`` as ``(C, length, ...)``, with ``fill`` behind the last step."""
    if missing := -value.shape[0] % length:
        value = xp.concatenate([value, zeros(xp, (missing, *value.shape[1:]), value) + fill])
    return value.reshape(value.shape[0] // length, length, *value.shape[1:])


def scan(xp: Namespace, keep: Array, add: Array, first: Array, chunk: int) -> Array:
    """All ``h_t = keep_t * h_{t-1} + add_t`` from ``h_{-1} = first``.

    Step by step in all chunks at once, as if nothing had entered them; then chunk after chunk the state that did, which
    reaches each step times the product of what was kept.

    Source: Blelloch, "Prefix sums and their applications", CMU-CS-90-190, 1990.
    """
    T = add.shape[0]
    length = min(chunk, isqrt(T - 1) + 1)
    # One step of all chunks after the other; what torch iterates over has one gradient in all, not one per step.
    keeps, adds = (xp.swapaxes(in_chunks(xp, v, length, fill), 0, 1) for v, fill in ((keep, 1.0), (add, 0.0)))
    inside: list[Array] = []
    kept: list[Array] = []
    for k, a in zip(keeps, adds, strict=True):
        inside.append(k * inside[-1] + a if inside else a)
        kept.append(k * kept[-1] if kept else k)
    entered = [first]
    for k, a in zip(kept[-1], inside[-1], strict=True):
        entered.append(k * entered[-1] + a)
    h = xp.stack(inside, 1) + xp.stack(kept, 1) * xp.stack(entered[:-1])[:, None]
    return h.reshape(-1, *first.shape)[:T]
