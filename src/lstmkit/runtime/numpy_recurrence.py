"""Streams and pools of one recurrent stage by the reference's equations in NumPy."""

import numpy as np

from lstmkit.reference import run_sequence
from lstmkit.runtime.cell_input import split_extra
from lstmkit.runtime.recurrence import Array, Indices, State, Weights, state_shapes
from lstmkit.spec import CellSpec, DataError


class NumpyPool:
    """A :class:`~lstmkit.runtime.recurrence.RecurrencePool` of finite numbers."""

    def __init__(self, spec: CellSpec, weights: Weights, capacity: int, space: tuple[int, ...] = ()) -> None:
        self._spec, self._weights, self._capacity = spec, weights, capacity
        self._states = [np.zeros((rows, capacity, *rest), np.float32) for rows, _, *rest in state_shapes(spec, space)]

    def step(self, x: Array, indices: Indices | None) -> Array:
        """One step ``(N, I)`` to ``(N, R)``."""
        if indices is not None:
            _check_indices(indices, self._capacity)
        return self.run(x[None], slice(None) if indices is None else indices)[0]

    def run(self, x: Array, at: slice | Indices) -> Array:
        """Steps ``(T, N, I)`` to ``(T, N, R)``."""
        features, extra = split_extra(self._spec, x)
        before = [state[:, at] for state in self._states]
        result = run_sequence(np, self._spec, self._weights, features, before, extra=extra)
        for state, new in zip(self._states, result.state, strict=True):
            state[:, at] = new
        return result.output

    def read_state(self, index: int) -> State:
        """A copy of one sequence's states."""
        return tuple(state[:, index : index + 1].copy() for state in self._states)

    def write_state(self, index: int, *state: Array) -> None:
        """Let one sequence go on from these."""
        for own, given in zip(self._states, state, strict=True):
            own[:, index] = given[:, 0]


class NumpyRecurrence:
    """A :class:`~lstmkit.runtime.recurrence.Recurrence` of finite numbers."""

    def __init__(self, spec: CellSpec, weights: Weights, space: tuple[int, ...] = ()) -> None:
        self._pool = NumpyPool(spec, weights, 1, space)

    def run(self, x: Array) -> Array:
        """Steps ``(T, I)`` to ``(T, R)``."""
        return self._pool.run(x[:, None], slice(None))[:, 0]

    def read_state(self) -> State:
        """A copy of the states."""
        return self._pool.read_state(0)

    def write_state(self, *state: Array) -> None:
        """Go on from these."""
        self._pool.write_state(0, *state)


def _check_indices(indices: Indices, capacity: int) -> None:
    outside = indices[(indices < 0) | (indices >= capacity)]
    if len(outside):
        raise DataError(f"expected streams in 0..{capacity - 1}, got {outside[0]}")
    named, counts = np.unique(indices, return_counts=True)
    if len(named) < len(indices):
        raise DataError(f"the stream {named[counts > 1][0]} is named twice")
