"""Thousands of sequences of one model, stepped as one batch."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lstmkit.core import native_status
from lstmkit.runtime.native_recurrence import NativePool
from lstmkit.runtime.numbers import as_float32, check_finite
from lstmkit.runtime.numpy_recurrence import NumpyPool
from lstmkit.runtime.recurrence import Array, Indices, RecurrencePool, State, check_precision, find_core
from lstmkit.runtime.stages import run_stages
from lstmkit.runtime.stream import StateValues, check_state, name_states
from lstmkit.runtime.turn import Turn
from lstmkit.spec import CellSpec, DataError, OptionError, ShapeError

if TYPE_CHECKING:
    from lstmkit.runtime.sequence import SequenceModel


class StreamPool:
    """Many streams of one model, of which any subset steps as one batch; their states lie side by side.

    It serves one thread at a time.

    Args:
        model: Where the weights come from.
        capacity: How many streams there are; they are known by their indices, 0 to ``capacity - 1``.
        precision: As for :class:`Stream`.
        threads: How many a large batch may use; None means all processors of this process.
        space: As for :class:`Stream`.

    Raises:
        OptionError: the model is bidirectional, or an option has a value that cannot be.
        ShapeError: ``space`` is not one for this model.
        EngineError: the precision needs the native core, which was not built or does not have the cell.

    Example:
        >>> import numpy as np
        >>> from lstmkit.runtime import SequenceModel
        >>> from lstmkit.spec import CellSpec
        >>> spec = CellSpec(input_size=3, hidden_size=4)
        >>> stages = [{"name": "lstm", "kind": "recurrent", "inputs": ["x"], "options": {"cell": spec.to_dict()}}]
        >>> weights = {f"lstm.{name}": np.ones(shape) / 9 for name, shape in spec.parameter_shapes().items()}
        >>> model = SequenceModel({"task": "sequence", "sequence": {"input_size": 3}, "stages": stages}, weights)
        >>> pool = model.pool(1000)
        >>> pool.step(np.ones((2, 3), np.float32), indices=[7, 900]).shape
        (2, 4)
        >>> pool.reset([7])
    """

    def __init__(
        self,
        model: "SequenceModel",
        capacity: int,
        *,
        precision: str = "float32",
        threads: int | None = None,
        space: Sequence[int] = (),
    ) -> None:
        self._capacity = _count("capacity", capacity)
        workers = native_status().threads if threads is None else _count("threads", threads)
        self._model, self._turn = model, Turn()
        check_precision(precision)
        cells, spaces = model.streamed_cells(), model.spaces(space)
        self._space, self._first = tuple(space), model.first_states(spaces)

        def make(name: str, spec: CellSpec) -> RecurrencePool:
            core = find_core(precision, spec)
            if core is None:
                return NumpyPool(spec, model.weights[name], capacity, spaces[name])
            return NativePool(core, spec, model.packed(core, name, precision), capacity, workers)

        self._pools = {name: make(name, spec) for name, spec in cells.items()}
        self._checks_input = len(model.stages) == 1 and isinstance(self._pools.get(model.answer), NativePool)
        self.reset()

    def __len__(self) -> int:
        """How many streams there are."""
        return self._capacity

    def step(self, x: ArrayLike, indices: ArrayLike | None = None) -> Array:
        """Feed one step to each of some streams.

        Args:
            x: ``(N, I)``, one row per stream.
            indices: The streams ``(N,)``, each once, in any order; None means all.

        Returns:
            ``(N, O)``, in the order of the rows.

        Raises:
            ShapeError: another shape, or as many rows as there are not indices.
            DataError: something that is not a finite number, or a stream that is not there or is named twice;
                all states stay as they were.
            EngineError: another thread is using this pool.
        """
        shape = np.shape(x)
        expected = (self._model.input_size, *self._space)
        if not shape or shape[1:] != expected:
            raise ShapeError(f"expected steps of shape (N, {', '.join(map(str, expected))}), got {shape}")
        at = None if indices is None else self._read_indices(indices)
        streams = self._capacity if at is None else len(at)
        if shape[0] != streams:
            raise ShapeError(f"expected one row for each of {streams} streams, got {shape[0]} rows")
        single = as_float32(x)
        if not self._checks_input:
            check_finite(single, x)
        return self._run_stages(single, at)

    def _run_stages(self, x: Array, at: Indices | None) -> Array:
        model = self._model
        overrides: dict[str, Callable[..., Any]] = {
            name: partial(_advance, pool, at, len(model.cells[name].state_shapes()))
            for name, pool in self._pools.items()
        }
        with self._turn:
            return run_stages(np, model.stages, model.weights, {"x": x[:, None]}, overrides)[model.answer][:, 0]

    def reset(self, indices: ArrayLike | None = None) -> None:
        """Set these streams, or all, back to the first state.

        Raises:
            ShapeError: these are not indices.
            DataError: a stream is not there; all states stay as they were.
            EngineError: another thread is using this pool.
        """
        chosen = range(self._capacity) if indices is None else self._read_indices(indices).tolist()
        for index in chosen:
            self._check_index(index)
        with self._turn:
            for index in chosen:
                self._write(index, self._first)

    def state(self, index: int) -> StateValues:
        """A copy of one stream's state, as :attr:`Stream.state` has it.

        Raises:
            DataError: there is no such stream.
            EngineError: another thread is using this pool.
        """
        self._check_index(index)
        with self._turn:
            return name_states(self._model, {name: pool.read_state(index) for name, pool in self._pools.items()})

    def set_state(self, index: int, state: Mapping[str, ArrayLike]) -> None:
        """Set one stream's state, perhaps that of a :class:`Stream`.

        Raises:
            ShapeError: it belongs to another model.
            DataError: it holds something that is not a finite number, or there is no such stream.
            EngineError: another thread is using this pool.
        """
        self._check_index(index)
        states = check_state(self._model, self._first, state)
        with self._turn:
            self._write(index, states)

    def _write(self, index: int, states: Mapping[str, State]) -> None:
        for name, state in states.items():
            self._pools[name].write_state(index, *state)

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self._capacity:
            raise DataError(f"expected streams in 0..{self._capacity - 1}, got {index}")

    @staticmethod
    def _read_indices(indices: ArrayLike) -> Indices:
        array = np.asarray(indices)
        if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
            raise ShapeError(f"expected indices (N,) of whole numbers, got {array.dtype} of shape {array.shape}")
        # A copy, which no other thread can change between the check and the step.
        return np.array(array, np.int64)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise OptionError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def _advance(pool: RecurrencePool, at: Indices | None, states: int, x: Array) -> tuple[Array | None, ...]:
    return pool.step(np.ascontiguousarray(x[:, 0]), at)[:, None], *[None] * states
