"""The driver of one layer: the time loop, the directions, lengths and resets."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, device_of
from lstmkit.reference.lstm import Weights, lstm_step
from lstmkit.spec import CellSpec


class LayerResult(NamedTuple):
    """What one layer gives back; ``D`` directions stand side by side."""

    output: Array  # (T, B, D*R), zero beyond a length
    h: Array  # (D, B, R)
    c: Array  # (D, B, H)
    cells: Array | None  # (T, B, D*H), zero beyond a length
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


def layer_weights(spec: CellSpec, parameters: Mapping[str, Array], suffix: str) -> Weights:
    """Collect one layer and direction out of torch's names."""
    return Weights(
        input=parameters[f"weight_ih{suffix}"],
        recurrent=parameters[f"weight_hh{suffix}"],
        bias=parameters[f"bias_ih{suffix}"] + parameters[f"bias_hh{suffix}"] if spec.bias else None,
        projection=parameters[f"weight_hr{suffix}"] if spec.proj_size else None,
    )


def input_share(x: Array, w: Weights) -> Array:
    """What the input ``(N, I)`` adds to the gates: ``(N, 4H)``."""
    return x @ w.input.T if w.bias is None else x @ w.input.T + w.bias


def run_layer(
    xp: Namespace,
    weights: list[Weights],
    x: Array,
    h: Array,
    c: Array,
    steps: Steps,
    *,
    cells: bool,
    gates: bool,
    reverse: bool = False,
) -> LayerResult:
    """Run every direction of one layer over ``x (T, B, I)`` from ``h (D, B, R)`` and ``c (D, B, H)``.

    ``reverse`` says that a single direction reads the sequence from its end.
    """
    if steps.active is not None:
        x = xp.where(steps.active, x, 0.0)
    results = [
        _run_direction(xp, w, x, h[d], c[d], steps, backwards=reverse or d == 1, cells=cells, gates=gates)
        for d, w in enumerate(weights)
    ]
    output, h_last, c_last, all_cells, all_gates = zip(*results, strict=True)
    return LayerResult(
        output=_beside(xp, output),
        h=xp.stack(h_last),
        c=xp.stack(c_last),
        cells=_beside(xp, all_cells) if cells else None,
        gates=_beside(xp, all_gates) if gates else None,
    )


def _run_direction(
    xp: Namespace, w: Weights, x: Array, h: Array, c: Array, steps: Steps, *, backwards: bool, cells: bool, gates: bool
) -> tuple[Array, ...]:
    T, B = x.shape[:2]
    from_input = input_share(x.reshape(T * B, x.shape[2]), w).reshape(T, B, w.input.shape[0])
    outputs, all_cells, all_gates = [None] * T, [None] * T, [None] * T
    for t in reversed(range(T)) if backwards else range(T):
        h, c = _reset(xp, h, c, steps.resets, t + 1 if backwards else t)
        h_new, c_new, gate_values = lstm_step(xp, from_input[t], h, c, w)
        if steps.active is None:
            h, c = h_new, c_new
        else:
            h, c = xp.where(steps.active[t], h_new, h), xp.where(steps.active[t], c_new, c)
        outputs[t] = h
        if cells:
            all_cells[t] = c
        if gates:
            all_gates[t] = xp.stack(gate_values)
    return (
        _along_time(xp, outputs, 0, steps),
        h,
        c,
        _along_time(xp, all_cells, 0, steps) if cells else None,
        _along_time(xp, all_gates, 1, steps) if gates else None,
    )


def _reset(xp: Namespace, h: Array, c: Array, resets: Array | None, t: int) -> tuple[Array, Array]:
    """Zero the state between steps t-1 and t; the backward direction crosses the same border from above."""
    if resets is None or t == resets.shape[0]:
        return h, c
    return xp.where(resets[t], 0.0, h), xp.where(resets[t], 0.0, c)


def _along_time(xp: Namespace, values: list[Array], axis: int, steps: Steps) -> Array:
    stacked = xp.stack(values, axis)
    return stacked if steps.active is None else xp.where(steps.active, stacked, 0.0)


def _beside(xp: Namespace, values: tuple[Array, ...]) -> Array:
    return values[0] if len(values) == 1 else xp.concatenate(values, values[0].ndim - 1)
