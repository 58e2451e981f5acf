"""Streams and pools of one recurrent stage in the native core."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lstmkit.runtime.numbers import as_float32, check_finite
from lstmkit.runtime.recurrence import Array, Indices, State, put, state_shapes
from lstmkit.spec import CellSpec, DataError, ShapeError


class NativeRecurrence:
    """A :class:`~lstmkit.runtime.recurrence.Recurrence`.

    Args:
        core: The native core.
        spec: The stage's stack.
        packed: Its packed weights.
        threads: 1, or 2 to allow a second thread.
    """

    def __init__(self, core: ModuleType, spec: CellSpec, packed: Any, threads: int) -> None:
        self._shapes = state_shapes(spec)
        self.core = core.Stream(packed, threads, step_any, run_any)

    def run(self, x: Array) -> Array:
        """Steps ``(T, I)`` to ``(T, R)``."""
        return self.core.run(x)

    def read_state(self) -> State:
        """A copy of h and c."""
        h, c = (np.empty(shape, np.float32) for shape in self._shapes)
        self.core.read_state(h.reshape(-1), c.reshape(-1))
        return h, c

    def write_state(self, *state: Array) -> None:
        """Go on from these."""
        h, c = state
        self.core.write_state(h.reshape(-1), c.reshape(-1))


class NativePool:
    """A :class:`~lstmkit.runtime.recurrence.RecurrencePool`; arguments as for :class:`NativeRecurrence`."""

    def __init__(self, core: ModuleType, spec: CellSpec, packed: Any, capacity: int, threads: int) -> None:
        self._shapes, self._output_size, self._threads = state_shapes(spec), spec.output_size, threads
        self.core = core.StreamPool(packed, capacity)

    def step(self, x: Array, indices: Indices | None) -> Array:
        """One step ``(N, I)`` to ``(N, R)``."""
        out = np.empty((len(x), self._output_size), np.float32)
        try:
            finite = self.core.step(x, out, indices, self._threads)
        except ValueError as error:
            raise DataError(str(error)) from None
        if not finite:
            check_finite(x)
        return out

    def read_state(self, index: int) -> State:
        """A copy of one sequence's h and c."""
        h, c = (np.empty(shape, np.float32) for shape in self._shapes)
        self.core.read_state(index, h.reshape(-1), c.reshape(-1))
        return h, c

    def write_state(self, index: int, *state: Array) -> None:
        """Let one sequence go on from these."""
        h, c = state
        self.core.write_state(index, h.reshape(-1), c.reshape(-1))


def step_any(core: Any, x: ArrayLike, out: Array | None) -> Array:
    """What the core's ``step`` calls where its arguments are not two plain arrays of finite numbers."""
    if np.shape(x) != (core.input_size,):
        raise ShapeError(f"expected a step of shape ({core.input_size},), got {np.shape(x)}")
    return put(run_any(core, np.asarray(x)[None], None)[0], out)


def run_any(core: Any, x: ArrayLike, out: Array | None) -> Array:
    """The same for the core's ``run``."""
    shape = np.shape(x)
    if len(shape) != 2 or shape[1] != core.input_size or not shape[0]:
        raise ShapeError(f"expected steps of shape (T, {core.input_size}), got {shape}")
    single = as_float32(x, copy=True)
    check_finite(single, x)
    return put(core.run(single), out)
