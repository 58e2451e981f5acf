"""The stack: layers above each other, over a whole sequence or one step at a time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, zeros
from lstmkit.reference.cells import find_cell, layer_weights
from lstmkit.reference.checks import check_extra, check_lengths, check_parameters, check_sequence, check_state
from lstmkit.reference.layer import LayerResult, run_layer
from lstmkit.reference.stack import join_states, pass_by, split_states
from lstmkit.reference.steps import mark_steps
from lstmkit.spec import CellSpec, OptionError, ShapeError


class SequenceResult(NamedTuple):
    """What a run over a sequence gives back; cells and gates only where they were asked for.

    Shape:
        - output: ``(T, B, D*R)``, zero beyond a length
        - state: ``(L*D, B, ...)`` each, in the catalog's order: the states after each row's last real step
        - cells: per layer ``(T, B, D*H)``
        - gates: per layer and gate letter ``(T, B, D*H)``, after the activation
    """

    output: Array
    state: tuple[Array, ...]
    cells: tuple[Array, ...] | None
    gates: tuple[dict[str, Array], ...] | None


def zero_state(
    xp: Namespace, spec: CellSpec, batch: int, like: Array, space: tuple[int, ...] = ()
) -> tuple[Array, ...]:
    """The states before the first step, with the dtype and device of ``like``."""
    return tuple(zeros(xp, (spec.state_rows, batch, *shape), like) for shape in spec.state_shapes(space).values())


def run_sequence(
    xp: Namespace,
    spec: CellSpec,
    parameters: Mapping[str, Array],
    x: Array,
    state: Sequence[Array] | None = None,
    *,
    extra: Array | None = None,
    lengths: Array | None = None,
    resets: Array | None = None,
    return_cells: bool = False,
    return_gates: bool = False,
    chunk: int = 0,
) -> SequenceResult:
    """Run a stack over a sequence by the equations of the paper, in the dtype of ``x``.

    Steps beyond a length are neither read nor written: their input may hold anything, their output
    is zero, and the backward direction starts at each row's own last step. A reset at step ``t``
    separates ``t - 1`` from ``t`` in both directions: forwards the state is zeroed before step
    ``t``, backwards before step ``t - 1``. A reset at step 0 drops the forward initial state.

    Args:
        xp: The array module, ``numpy`` or ``torch``.
        spec: The stack.
        parameters: Arrays by torch's names, with the shapes of ``spec.parameter_shapes()``.
        x: The input.
        state: The states before the first step, (h, c) of an LSTM; None is zero.
        extra: What the cell reads beside its input, where it reads anything: times, intervals, static features.
        lengths: Real steps of each row; None is all.
        resets: True where a row's state starts anew.
        return_cells: Also return the cell states of every step.
        return_gates: Also return the gate activations of every step.
        chunk: How many steps are taken at once, by a cell whose driver is ``chunks``; 0: one after the other.

    Shape:
        - x: ``(T, B, I)``; states: ``(L*D, B, ...)``, with what ``spec.state_shapes()`` says behind, or ``(D, B, ...)``
          where the layers' sizes differ
        - extra: ``(T, B, E)``; lengths: ``(B,)`` whole numbers in ``1..T``; resets: ``(T, B)`` bool

    Raises:
        ShapeError: a shape or dtype does not fit, or a length is outside ``1..T``.

    Source: that of ``spec.entry``.

    Example:
        >>> import numpy as np
        >>> spec = CellSpec(input_size=2, hidden_size=3)
        >>> parameters = {name: np.full(shape, 0.1) for name, shape in spec.parameter_shapes().items()}
        >>> run_sequence(np, spec, parameters, np.ones((4, 1, 2))).output.shape
        (4, 1, 3)
    """
    check_parameters(spec, parameters)
    check_sequence(spec, x, state, lengths, resets)
    check_extra(spec, x, extra)
    if lengths is not None:
        check_lengths(lengths, x.shape[0])
    state = zero_state(xp, spec, x.shape[1], x, tuple(x.shape[3:])) if state is None else tuple(state)
    first = split_states(spec, state)
    steps = mark_steps(xp, x, lengths, resets)
    results: list[LayerResult] = []
    for layer in range(spec.num_layers):
        weights = [layer_weights(spec, parameters, suffix) for suffix in spec.layer_suffixes(layer)]
        read = x if extra is None else xp.concatenate([x, extra], 2)
        trace = {"cells": return_cells, "gates": return_gates}
        results.append(run_layer(xp, find_cell(spec), weights, read, first[layer], steps, **trace, chunk=chunk))
        x = pass_by(xp, spec, parameters, layer, x, results[-1].output)
    return SequenceResult(
        output=x,
        state=join_states(xp, spec, [result.state for result in results]),
        cells=tuple(result.cells for result in results) if return_cells else None,
        gates=tuple(name_gates(spec, result.gates) for result in results) if return_gates else None,
    )


def name_gates(spec: CellSpec, gates: Array) -> dict[str, Array]:
    """Gate letter -> activations, from ``(G, T, B, D*H)``."""
    return {letter: gates[k] for k, letter in enumerate(spec.gates)}


def run_step(
    xp: Namespace,
    spec: CellSpec,
    parameters: Mapping[str, Array],
    x: Array,
    state: Sequence[Array] | None = None,
    extra: Array | None = None,
) -> tuple[Array, tuple[Array, ...]]:
    """Run one time step of a one-directional stack: ``x (B, I)``, ``extra (B, E)`` to output and states.

    Raises:
        OptionError: the stack is bidirectional, so its past depends on its future.
        ShapeError: a shape does not fit.
    """
    if spec.bidirectional:
        raise OptionError("a bidirectional stack cannot run step by step: it needs the whole sequence")
    if x.ndim != 2 + len(spec.kernel_size) or x.shape[1] != spec.input_size:
        raise ShapeError(f"the input of a step must have shape (B, {spec.input_size}), not {tuple(x.shape)}")
    space = tuple(x.shape[2:])
    check_state(spec, state, x.shape[0], space)
    check_extra(spec, x, extra)
    state = zero_state(xp, spec, x.shape[0], x, space) if state is None else tuple(state)
    cell, first = find_cell(spec), split_states(spec, state)
    states: list[tuple[Array, ...]] = []
    for layer in range(spec.num_layers):
        w = layer_weights(spec, parameters, f"_l{layer}")
        read = x if extra is None else xp.concatenate([x, extra], 1)
        before = tuple(value[0] for value in first[layer])
        output, new, _ = cell.step(xp, cell.prepare(xp, read[None], w)[0], before, w)
        states.append(tuple(value[None] for value in new))
        x = pass_by(xp, spec, parameters, layer, x, output)
    return x, join_states(xp, spec, states)
