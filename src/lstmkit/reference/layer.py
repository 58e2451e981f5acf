"""The driver of one layer of any cell: the time loop, the directions, lengths and resets."""

from typing import Any, NamedTuple

from lstmkit.reference.arrays import Array, Namespace, along_time
from lstmkit.reference.cells import Cell
from lstmkit.reference.chunks import run_chunks
from lstmkit.reference.steps import Steps, widen


class LayerResult(NamedTuple):
    """What one layer gives back; ``D`` directions stand side by side."""

    output: Array  # (T, B, D*R), zero beyond a length
    state: tuple[Array, ...]  # (D, B, ...) each
    cells: Array | None  # (T, B, D*H), the second state of every step, zero beyond a length
    gates: Array | None  # (G, T, B, D*H) in catalog order, after activation, zero beyond a length


def run_layer(
    xp: Namespace,
    cell: Cell,
    weights: list[Any],
    x: Array,
    state: tuple[Array, ...],
    steps: Steps,
    *,
    cells: bool,
    gates: bool,
    reverse: bool = False,
    chunk: int = 0,
) -> LayerResult:
    """Run every direction of one layer over ``x (T, B, I)`` from the states ``(D, B, ...)``.

    ``reverse`` says that a single direction reads the sequence from its end; ``chunk`` how many steps a cell that can
    take them at once is given, 0 being one after the other.
    """
    if steps.active is not None:
        x = xp.where(widen(steps.active, x), x, 0.0)
    results: list[Any] = []
    for d, w in enumerate(weights):
        first, backwards = tuple(s[d] for s in state), reverse or d == 1
        if chunk:
            results.append(run_chunks(xp, cell, w, x, first, steps, backwards=backwards, gates=gates, chunk=chunk))
        else:
            results.append(_run_direction(xp, cell, w, x, first, steps, backwards=backwards, cells=cells, gates=gates))
    output, last, all_cells, all_gates = zip(*results, strict=True)
    return LayerResult(
        output=_beside(xp, output, 2),
        state=tuple(xp.stack(parts) for parts in zip(*last, strict=True)),
        cells=_beside(xp, all_cells, 2) if cells else None,
        gates=_beside(xp, all_gates, 3) if gates else None,
    )


def _run_direction(
    xp: Namespace,
    cell: Cell,
    w: Any,
    x: Array,
    state: tuple[Array, ...],
    steps: Steps,
    *,
    backwards: bool,
    cells: bool,
    gates: bool,
) -> tuple[Any, ...]:
    T = x.shape[0]
    prepared = along_time(cell.prepare(xp, x, w))
    outputs, all_cells, all_gates = [None] * T, [None] * T, [None] * T
    for t in reversed(range(T)) if backwards else range(T):
        state = _reset(xp, state, steps.resets, t + 1 if backwards else t)
        outputs[t], new, gate_values = cell.step(xp, prepared[t], state, w)
        if steps.active is not None:
            new = tuple(xp.where(widen(steps.active[t], a), a, b) for a, b in zip(new, state, strict=True))
        state = new
        if cells:
            all_cells[t] = state[1]
        if gates:
            all_gates[t] = xp.stack(gate_values)
    return (
        _along_time(xp, outputs, 0, steps),
        state,
        _along_time(xp, all_cells, 0, steps) if cells else None,
        _along_time(xp, all_gates, 1, steps) if gates else None,
    )


def _reset(xp: Namespace, state: tuple[Array, ...], resets: Array | None, t: int) -> tuple[Array, ...]:
    """Zero the state between steps t-1 and t; the backward direction crosses the same border from above."""
    if resets is None or t == resets.shape[0]:
        return state
    return tuple(xp.where(widen(resets[t], value), 0.0, value) for value in state)


def _along_time(xp: Namespace, values: list[Array], axis: int, steps: Steps) -> Array:
    stacked = xp.stack(values, axis)
    return stacked if steps.active is None else xp.where(widen(steps.active, stacked, axis), stacked, 0.0)


def _beside(xp: Namespace, values: tuple[Array, ...], axis: int) -> Array:
    return values[0] if len(values) == 1 else xp.concatenate(values, axis)
