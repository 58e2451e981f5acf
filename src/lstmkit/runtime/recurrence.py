"""How a recurrent stage goes on from its state: the choice between the native core and NumPy.

Legend: ``T`` steps, ``N`` sequences, ``L`` layers, ``R`` outputs, ``H`` units.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lstmkit.core import native_module, native_status
from lstmkit.spec import CellSpec, EngineError, OptionError, ShapeError

Array = NDArray[Any]
Weights = Mapping[str, Array]
State = tuple[Array, ...]
Indices = NDArray[np.int64]

PRECISIONS = ("float32", "bfloat16", "int8")


class Recurrence(Protocol):
    """One sequence: blocks ``(T, I)`` to ``(T, R)``; its states are the cell's, ``(L, 1, ...)``.

    A ConvLSTM's steps have axes of space behind their features, and what a cell reads beside its input is in the last
    columns of ``I``.
    """

    def run(self, x: Array) -> Array:
        """Steps ``(T, I)`` to ``(T, R)``."""
        ...

    def read_state(self) -> State:
        """A copy of the states."""
        ...

    def write_state(self, *state: Array) -> None:
        """Go on from these."""
        ...


class RecurrencePool(Protocol):
    """Many sequences: a step ``(N, I)`` to ``(N, R)`` of those at ``indices``; states as in :class:`Recurrence`."""

    def step(self, x: Array, indices: Indices | None) -> Array:
        """One step ``(N, I)`` to ``(N, R)``."""
        ...

    def read_state(self, index: int) -> State:
        """A copy of one sequence's states."""
        ...

    def write_state(self, index: int, *state: Array) -> None:
        """Let one sequence go on from these."""
        ...


def check_precision(precision: str) -> None:
    """Raise an OptionError unless there is such a precision."""
    if precision not in PRECISIONS:
        raise OptionError(f"expected the precision {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, got {precision!r}")


def find_core(precision: str, spec: CellSpec) -> ModuleType | None:
    """The native core, or None where NumPy has to do, which it can in float32.

    Raises:
        EngineError: the core is needed and is not there, or does not have this cell.
    """
    status = native_status()
    if not spec.is_plain_lstm:
        if precision != "float32":
            raise EngineError(f"{precision} needs the native core, which runs the plain LSTM alone; float32 works")
        return None
    if not status.available and precision != "float32":
        raise EngineError(f"{precision} needs the native core; {status.reason}; float32 works without it")
    return native_module() if status.available else None


def pack(core: ModuleType, spec: CellSpec, weights: Weights, precision: str) -> Any:
    """The stage's weights in the order in which the core reads them; many streams share them."""
    layers: list[tuple[Array | None, ...]] = []
    for layer in range(spec.num_layers):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        found = [weights.get(f"{name}_l{layer}") for name in names]
        layers.append(tuple(None if array is None else np.ascontiguousarray(array, np.float32) for array in found))
    return core.StreamWeights(layers, precision)


def state_shapes(spec: CellSpec, space: tuple[int, ...] = ()) -> tuple[tuple[int, ...], ...]:
    """Shapes of the states of one sequence, whose steps have these lengths of space."""
    return tuple((spec.state_rows, 1, *shape) for shape in spec.state_shapes(space).values())


def put(y: Array, out: Array | None) -> Array:
    """``y``, or ``out`` with its numbers.

    Raises:
        ShapeError: ``out`` is no float32 array of that shape that can be written.
    """
    if out is None:
        return y
    if not (isinstance(out, np.ndarray) and out.dtype == np.float32 and out.shape == y.shape and out.flags.writeable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ShapeError(f"expected out to be a float32 array of shape {y.shape} that can be written")
    out[...] = y
    return out
