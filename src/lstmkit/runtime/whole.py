"""A recurrent stage over whole sequences in the native core: a stream for one, a pool for many.

Legend: ``B`` sequences, ``T`` steps, ``I`` features, ``D`` directions, ``R`` outputs, ``H`` units.
"""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from lstmkit.core import native_status
from lstmkit.runtime.native_recurrence import NativePool, NativeRecurrence
from lstmkit.runtime.recurrence import Array, Indices, State
from lstmkit.spec import CellSpec


def run_whole(core: ModuleType, spec: CellSpec, packed: Any, x: Array, state: State) -> tuple[Array, ...]:
    """Run a stack that is not bidirectional.

    Args:
        core: The native core.
        spec: The stack.
        packed: Its packed weights.
        x: ``(B, T, I)``.
        state: h ``(L, B, R)`` and c ``(L, B, H)`` before the first step.

    Returns:
        The output ``(B, T, R)``, and h and c after the last step.

    Raises:
        DataError: a number is not finite.
    """
    h, c = state
    if len(x) == 1:
        stream = NativeRecurrence(core, spec, packed, 1)
        stream.write_state(np.ascontiguousarray(h), np.ascontiguousarray(c))
        output = stream.run(np.ascontiguousarray(x[0], np.float32))[None]
        return output, *stream.read_state()
    pool = NativePool(core, spec, packed, len(x), native_status().threads)
    for row in range(len(x)):
        pool.write_state(row, h[:, row].copy(), c[:, row].copy())
    steps = [pool.step(step, None) for step in np.ascontiguousarray(x.swapaxes(0, 1), np.float32)]
    states = [pool.read_state(row) for row in range(len(x))]
    last_h, last_c = (np.concatenate([pair[k] for pair in states], axis=1) for k in (0, 1))
    return np.stack(steps, axis=1), last_h, last_c


def run_uneven(
    core: ModuleType, spec: CellSpec, packed: Callable[[int, int], Any], x: Array, lengths: Indices, state: State
) -> tuple[Array, ...]:
    """Run a plain stack of any directions over sequences of uneven length.

    Args:
        core: The native core.
        spec: The stack.
        packed: The packed weights of a layer and direction.
        x: ``(B, T, I)``.
        lengths: Real steps of each sequence, ``(B,)`` in ``1..T``.
        state: h ``(L*D, B, R)`` and c ``(L*D, B, H)`` before the first step.

    Returns:
        The output ``(B, T, D*R)``, zero beyond a length, and h and c after each sequence's last step.

    Raises:
        DataError: a number is not finite.
    """
    last: list[tuple[Array, Array]] = []
    for layer in range(spec.num_layers):
        one = replace(spec.layer(layer), bidirectional=False)
        outputs: list[Array] = []
        for direction in range(spec.num_directions):
            row = layer * spec.num_directions + direction
            first = tuple(array[row : row + 1] for array in state)
            y, *after = _run_direction(core, one, packed(layer, direction), x, lengths, first, direction == 1)
            outputs.append(y)
            last.append((after[0], after[1]))
        x = np.concatenate(outputs, axis=2)
    return x, *(np.concatenate([pair[k] for pair in last]) for k in (0, 1))


def _run_direction(
    core: ModuleType, spec: CellSpec, packed: Any, x: Array, lengths: Indices, state: State, backward: bool
) -> tuple[Array, ...]:
    """One layer in one direction: the longest sequences first, so that those that go on stand side by side."""
    order = np.argsort(-lengths, kind="stable")
    if backward:
        x = _turned(x, lengths)
    pool = NativePool(core, spec, packed, len(x), native_status().threads)
    for row in range(len(x)):
        pool.write_state(row, *(np.ascontiguousarray(array[:, order[row]]) for array in state))
    going_on: list[int] = (lengths[None] > np.arange(int(x.shape[1]))[:, None]).sum(1).tolist()
    y = np.zeros((len(x), x.shape[1], spec.output_size), np.float32)
    for step in range(int(lengths.max())):
        rows = order[: going_on[step]]
        y[rows, step] = pool.step(np.ascontiguousarray(x[rows, step], np.float32), np.arange(len(rows)))
    if backward:
        y = _turned(y, lengths)
    states = [pool.read_state(int(place)) for place in np.argsort(order)]
    return y, *(np.concatenate([pair[k] for pair in states], axis=1) for k in (0, 1))


def _turned(x: Array, lengths: Indices) -> Array:
    """Each sequence from its own end to its start; what is beyond stays where it is."""
    steps: Indices = np.arange(int(x.shape[1]))[None]
    places = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return np.take_along_axis(x, places[:, :, None], 1)
