"""The driver of the cells that take many steps at once: chunk after chunk, with the states of a loop between them."""

from typing import TYPE_CHECKING, Any

from lstmkit.reference.arrays import Array, Namespace
from lstmkit.reference.steps import Steps, widen
from lstmkit.spec import OptionError

if TYPE_CHECKING:
    from lstmkit.reference.cells import Cell


def run_chunks(
    xp: Namespace,
    cell: "Cell",
    w: Any,
    x: Array,
    state: tuple[Array, ...],
    steps: Steps,
    *,
    backwards: bool,
    chunk: int,
) -> tuple[Any, ...]:
    """One direction over ``x (T, B, I)``: output, last states, no cells, gates ``(G, T, B, H)``."""
    if cell.whole is None:
        raise OptionError("this cell takes one step after the other; it has no chunks")
    active, resets = steps
    if backwards:
        x, active = xp.flip(x, (0,)), None if active is None else xp.flip(active, (0,))
        resets = None if resets is None else _flip_walls(xp, resets)
    prepared = cell.prepare(xp, x, w)
    outputs: list[Array] = []
    all_gates: list[Array] = []
    for t in range(0, x.shape[0], chunk):
        now = slice(t, t + chunk)
        part = Steps(None if active is None else active[now], None if resets is None else resets[now])
        output, state, gates = cell.whole(xp, prepared[now], state, w, part)
        outputs.append(output)
        all_gates.append(xp.stack(gates))
    output, gates = xp.concatenate(outputs), xp.concatenate(all_gates, 1)
    if active is not None:
        output = xp.where(widen(active, output), output, 0.0)
        gates = xp.where(widen(active, gates, 1), gates, 0.0)
    if backwards:
        output, gates = xp.flip(output, (0,)), xp.flip(gates, (1,))
    return output, state, None, gates


def _flip_walls(xp: Namespace, resets: Array) -> Array:
    """A wall between t-1 and t, seen from the end."""
    return xp.concatenate([xp.zeros_like(resets[:1]), xp.flip(resets[1:], (0,))])


def scan(xp: Namespace, keep: Array, add: Array, first: Array) -> Array:
    """All ``h_t = keep_t * h_{t-1} + add_t`` from ``h_{-1} = first``, in about ``log2(T)`` passes over ``(T, ...)``.

    Source: Hillis & Steele, "Data parallel algorithms", Communications of the ACM 29(12), 1986.
    """
    add = xp.concatenate([(keep[0] * first + add[0])[None], add[1:]])
    shift = 1
    while shift < add.shape[0]:
        add = xp.concatenate([add[:shift], keep[shift:] * add[:-shift] + add[shift:]])
        keep = xp.concatenate([keep[:shift], keep[shift:] * keep[:-shift]])
        shift *= 2
    return add
