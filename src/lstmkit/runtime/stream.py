"""One sequence, answered step by step."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lstmkit.runtime.native_recurrence import NativeRecurrence
from lstmkit.runtime.numbers import finite_float32
from lstmkit.runtime.numpy_recurrence import NumpyRecurrence
from lstmkit.runtime.recurrence import Array, Recurrence, State, check_precision, find_core, put
from lstmkit.runtime.stages import run_stages
from lstmkit.runtime.turn import Turn
from lstmkit.spec import CellSpec, OptionError, ShapeError

if TYPE_CHECKING:
    from lstmkit.runtime.sequence import SequenceModel

StateValues = dict[str, Array]


class Stream:
    """One sequence, answered step by step. Its state is a value that can be read, set and moved.

    It serves one thread at a time. Where the model is one recurrent stage and the native core was built, a step goes
    straight to the core.

    Args:
        model: Where the weights come from; many streams may share one model.
        precision: What products are computed in: ``float32``, ``bfloat16``, or ``int8`` with a scale per row of the
            weights and per step of the input. States and activations are float32 always.
        threads: 1, or 2 to allow a second thread for layers of some 120 kB of weights and more. It is used where it
            makes steps shorter, and keeps a processor busy for up to 50 µs after each.
        space: Lengths of a step's axes of space, which a model with a ConvLSTM needs and no other has.

    Raises:
        OptionError: the model is bidirectional, or an option has another value.
        ShapeError: the model runs over another number of axes of space, or its kernels leave nothing of these.
        EngineError: the precision needs the native core, which was not built or does not have the cell.
    """

    def __init__(
        self, model: "SequenceModel", *, precision: str = "float32", threads: int = 1, space: Sequence[int] = ()
    ) -> None:
        if threads not in (1, 2):
            raise OptionError(f"a stream can use 1 or 2 threads, not {threads!r}")
        self._model, self._precision, self._threads = model, precision, threads
        self._turn = Turn()
        check_precision(precision)
        cells = model.streamed_cells()
        self._spaces, self._space = model.spaces(space), tuple(space)
        self._first = model.first_states(self._spaces)
        self._recurrences = {name: self._make_recurrence(name, spec) for name, spec in cells.items()}
        self._overrides: dict[str, Callable[..., Any]] = {
            name: partial(_advance, self._recurrences[name], len(spec.state_shapes())) for name, spec in cells.items()
        }
        only = self._recurrences.get(model.answer) if len(model.stages) == 1 else None
        if isinstance(only, NativeRecurrence):
            self.step, self.run = only.core.step, only.core.run
        self.reset()

    def _make_recurrence(self, name: str, spec: CellSpec) -> Recurrence:
        core = find_core(self._precision, spec)
        if core is None:
            return NumpyRecurrence(spec, self._model.weights[name], self._spaces[name])
        return NativeRecurrence(core, spec, self._model.packed(core, name, self._precision), self._threads)

    def step(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Feed one step ``(I,)`` and get its output ``(O,)``.

        Args:
            x: The step.
            out: Where to write the output, a float32 array; by default a new one.

        Raises:
            ShapeError: another shape, or an ``out`` that cannot take the output.
            DataError: something that is not a finite number; the state stays as it was.
            EngineError: another thread is using this stream.
        """
        expected = (self._model.input_size, *self._space)
        if np.shape(x) != expected:
            raise ShapeError(f"expected a step of shape {expected}, got {np.shape(x)}")
        return put(self.run(np.asarray(x)[None])[0], out)

    def run(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Feed a block of steps ``(T, I)`` and get their outputs ``(T, O)``.

        Args:
            x: The steps.
            out: Where to write the outputs, as for :meth:`step`.

        Raises:
            ShapeError: another shape, or an ``out`` that cannot take the outputs.
            DataError: something that is not a finite number; the state stays as it was.
            EngineError: another thread is using this stream.
        """
        shape = np.shape(x)
        expected = (self._model.input_size, *self._space)
        if not shape or shape[1:] != expected or not shape[0]:
            raise ShapeError(f"expected steps of shape (T, {', '.join(map(str, expected))}), got {shape}")
        return put(self._run_stages(finite_float32(x)), out)

    def _run_stages(self, steps: Array) -> Array:
        model = self._model
        with self._turn:
            return run_stages(np, model.stages, model.weights, {"x": steps[None]}, self._overrides)[model.answer][0]

    def reset(self) -> None:
        """Back to the first state: zero, or what was learned.

        Raises:
            EngineError: another thread is using this stream.
        """
        self._write(self._first)

    @property
    def state(self) -> StateValues:
        """A copy of the states by name, ``lstm.h (L, 1, R)`` and ``lstm.c (L, 1, H)``; ``np.savez`` can keep it.

        The names before the dot are the stages', those behind it the states that the cell has in the catalog.

        Raises:
            EngineError: another thread is using this stream.
        """
        with self._turn:
            return name_states(self._model, {name: own.read_state() for name, own in self._recurrences.items()})

    @state.setter
    def state(self, state: Mapping[str, ArrayLike]) -> None:
        self._write(check_state(self._model, self._first, state))

    def _write(self, states: Mapping[str, State]) -> None:
        with self._turn:
            for name, state in states.items():
                self._recurrences[name].write_state(*state)

    def clone(self) -> "Stream":
        """A second stream at the same point; the two go on independently.

        Raises:
            EngineError: another thread is using this stream.
        """
        other = Stream(self._model, precision=self._precision, threads=self._threads, space=self._space)
        other.state = self.state
        return other


def name_states(model: "SequenceModel", states: Mapping[str, State]) -> StateValues:
    """The states of stages as one dictionary: ``stage.h``, ``stage.c``."""
    return {
        f"{name}.{own}": array
        for name, arrays in states.items()
        for own, array in zip(model.cells[name].state_shapes(), arrays, strict=True)
    }


def check_state(model: "SequenceModel", first: Mapping[str, State], state: Mapping[str, ArrayLike]) -> dict[str, State]:
    """The inverse of :func:`name_states`, of an untrusted dictionary.

    Args:
        model: The model.
        first: Its first states, which have the shapes of all others.
        state: The dictionary.

    Raises:
        ShapeError: it belongs to another model.
        DataError: it holds something that is not a finite number.
    """
    expected = {name: array.shape for name, array in name_states(model, first).items()}
    found = {name: np.shape(state[name]) for name in state}
    if found != expected:
        raise ShapeError(f"this state belongs to another model: expected {expected}, got {found}")
    values = {name: finite_float32(state[name]) for name in expected}
    return {name: tuple(values[f"{name}.{own}"] for own in spec.state_shapes()) for name, spec in model.cells.items()}


def _advance(recurrence: Recurrence, states: int, x: Array) -> tuple[Array | None, ...]:
    return recurrence.run(np.ascontiguousarray(x[0]))[None], *[None] * states
