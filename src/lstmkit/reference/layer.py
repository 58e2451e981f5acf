"""The driver of one layer of any cell: the time loop, the directions, lengths and resets."""

from typing import Any, NamedTuple

from lstmkit.reference.arrays import Array, Namespace, device_of
from lstmkit.reference.cells import Cell


class LayerResult(NamedTuple):
    """What one layer gives back; ``D`` directions stand side by side."""

    output: Array  # (T, B, D*R), zero beyond a length
    state: tuple[Array, ...]  # (D, B, ...) each
    cells: Array | None  # (T, B, D*H), the second state of every step, zero beyond a length
    gates: Array | None  # (G, T, B, D*H) in catalog order, after activation, zero beyond a length


class Steps(NamedTuple):
    """Which steps are real, and before which the state is zeroed; None means all and none."""

    active: Array | None  # (T, B, 1) bool
    resets: Array | None  # (T, B, 1) bool, False in the padding


def mark_steps(xp: Namespace, x: Array, lengths: Array | None, resets: Array | None) -> Steps:
    """Turn lengths ``(B,)`` and resets ``(T, B)`` into masks over the steps of ``x``."""
    active = None
    if lengths is not None:
        active = (xp.arange(x.shape[0], **device_of(x))[:, None] < lengths[None, :])[:, :, None]
    if resets is not None:
        resets = resets[:, :, None]
        resets = resets if active is None else resets & active
    return Steps(active, resets)


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
) -> LayerResult:
    """Run every direction of one layer over ``x (T, B, I)`` from the states ``(D, B, ...)``.

    ``reverse`` says that a single direction reads the sequence from its end.
    """
    if steps.active is not None:
        x = xp.where(_widen(steps.active, x), x, 0.0)
    results = [
        _run_direction(
            xp, cell, w, x, tuple(s[d] for s in state), steps, backwards=reverse or d == 1, cells=cells, gates=gates
        )
        for d, w in enumerate(weights)
    ]
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
    prepared = cell.prepare(xp, x, w)
    outputs, all_cells, all_gates = [None] * T, [None] * T, [None] * T
    for t in reversed(range(T)) if backwards else range(T):
        state = _reset(xp, state, steps.resets, t + 1 if backwards else t)
        outputs[t], new, gate_values = cell.step(xp, prepared[t], state, w)
        if steps.active is not None:
            new = tuple(xp.where(_widen(steps.active[t], a), a, b) for a, b in zip(new, state, strict=True))
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
    return tuple(xp.where(_widen(resets[t], value), 0.0, value) for value in state)


def _along_time(xp: Namespace, values: list[Array], axis: int, steps: Steps) -> Array:
    stacked = xp.stack(values, axis)
    return stacked if steps.active is None else xp.where(_widen(steps.active, stacked, axis), stacked, 0.0)


def _widen(mask: Array, value: Array, leading: int = 0) -> Array:
    """A mask ``(..., B, 1)`` of rows, for a value with ``leading`` axes before and any number behind them."""
    return mask.reshape(*mask.shape, *[1] * (value.ndim - leading - mask.ndim))


def _beside(xp: Namespace, values: tuple[Array, ...], axis: int) -> Array:
    return values[0] if len(values) == 1 else xp.concatenate(values, axis)
