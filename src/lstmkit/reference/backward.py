"""Backpropagation through time, written out; docs/explanation/lstm.md derives it.

Autograd through the forward equations gives the same numbers. This text is what an engine without
autograd does, and it needs only what a forward run can keep: outputs, cell states and gates.
"""

from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, zeros
from lstmkit.reference.lstm import Weights, lstm_step_backward
from lstmkit.reference.steps import Steps


class Saved(NamedTuple):
    """One direction of a layer as its forward run left it."""

    x: Array  # (T, B, I)
    h: Array  # (B, R), before the first step
    c: Array  # (B, H)
    output: Array  # (T, B, R)
    cells: Array  # (T, B, H)
    gates: Array  # (4, T, B, H)


class Upstream(NamedTuple):
    """Gradients of the loss with respect to what one direction gave back; None is zero."""

    output: Array | None
    h: Array | None
    c: Array | None
    cells: Array | None
    gates: Array | None


class DirectionGradients(NamedTuple):
    """Gradients with respect to what one direction was given."""

    x: Array  # (T, B, I)
    h: Array  # (B, R)
    c: Array  # (B, H)
    weights: Weights


def run_direction_backward(
    xp: Namespace, w: Weights, saved: Saved, upstream: Upstream, steps: Steps, *, backwards: bool
) -> DirectionGradients:
    """Gradients of one direction of a layer; ``backwards`` says that it read the sequence from its end."""
    x = saved.x if steps.active is None else xp.where(steps.active, saved.x, 0.0)
    h_before = _before(xp, saved.output, saved.h, steps, backwards)
    c_before = _before(xp, saved.cells, saved.c, steps, backwards)
    tanh_c = xp.tanh(saved.cells)
    dh = zeros(xp, saved.h.shape, x) if upstream.h is None else upstream.h
    dc = zeros(xp, saved.c.shape, x) if upstream.c is None else upstream.c
    T = x.shape[0]
    dz_steps, dh_steps = [None] * T, [None] * T
    for t in range(T) if backwards else reversed(range(T)):
        dh_t, dc_t = _plus(dh, upstream.output, t), _plus(dc, upstream.cells, t)
        dgates = None if upstream.gates is None else upstream.gates[:, t]
        dz, dc_new = lstm_step_backward(xp, dh_t, dc_t, saved.gates[:, t], c_before[t], tanh_c[t], w, dgates)
        dh_new = dz @ w.recurrent
        if steps.resets is not None and (border := t + 1 if backwards else t) < T:
            dh_new = xp.where(steps.resets[border], 0.0, dh_new)
            dc_new = xp.where(steps.resets[border], 0.0, dc_new)
        if steps.active is None:
            dh, dc = dh_new, dc_new
        else:
            active = steps.active[t]
            dz, dh_t = xp.where(active, dz, 0.0), xp.where(active, dh_t, 0.0)
            dh, dc = xp.where(active, dh_new, dh), xp.where(active, dc_new, dc)
        dz_steps[t], dh_steps[t] = dz, dh_t
    dz, dh_all = xp.stack(dz_steps), xp.stack(dh_steps)
    weights = _weight_gradients(w, _rows(x), _rows(h_before), _rows(dz), _rows(dh_all), _rows(saved.gates[3] * tanh_c))
    return DirectionGradients((_rows(dz) @ w.input).reshape(x.shape), dh, dc, weights)


def _before(xp: Namespace, values: Array, first: Array, steps: Steps, backwards: bool) -> Array:
    """The state that entered each step: the neighbour's, or the initial one where a row begins or is reset."""
    first = first[None]
    if not backwards:
        before = xp.concatenate([first, values[:-1]])
        return before if steps.resets is None else xp.where(steps.resets, 0.0, before)
    before = values[1:] if steps.active is None else xp.where(steps.active[1:], values[1:], first)
    if steps.resets is not None:
        before = xp.where(steps.resets[1:], 0.0, before)
    return xp.concatenate([before, first])


def _weight_gradients(w: Weights, x: Array, h: Array, dz: Array, dh: Array, h_unprojected: Array) -> Weights:
    return Weights(
        input=dz.T @ x,
        recurrent=dz.T @ h,
        bias=None if w.bias is None else dz.sum(0),
        projection=None if w.projection is None else dh.T @ h_unprojected,
    )


def _plus(carried: Array, at_each_step: Array | None, t: int) -> Array:
    return carried if at_each_step is None else carried + at_each_step[t]


def _rows(values: Array) -> Array:
    return values.reshape(values.shape[0] * values.shape[1], values.shape[2])
