"""A language model that reads token by token."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.runtime.native_recurrence import NativeRecurrence
from lstmkit.runtime.numpy_recurrence import NumpyRecurrence
from lstmkit.runtime.recurrence import State, check_precision, find_core
from lstmkit.runtime.stages import run_stages

if TYPE_CHECKING:
    from lstmkit.runtime.lm import LMModel

Array = NDArray[Any]


class LMStream:
    """Reads tokens, and says after each how likely every token is to be next. It serves one thread at a time.

    Args:
        model: The language model.
        precision: Of the products: ``"float32"``, ``"bfloat16"`` or ``"int8"``.

    Raises:
        OptionError: there is no such precision.
        EngineError: the precision needs the native core, which was not built.
    """

    def __init__(self, model: "LMModel", precision: str = "float32") -> None:
        check_precision(precision)
        name, spec = model.recurrent.name, model.cell
        core = find_core(precision, spec)
        if core is None:
            self._recurrence: Any = NumpyRecurrence(spec, model.weights[name], ())
        else:
            self._recurrence = NativeRecurrence(core, spec, model.packed(core, name, precision), 1)
        self._model, self._first = model, model.first_states()[name]
        self._table = model.table
        self._output = np.empty(spec.output_size, np.float32)
        self._advance = self._recurrence.core.step if core is not None else self._step
        self._head = _step_head(model) or self._any_head

    def step(self, token: int) -> Array:
        """Read one token; scores ``(V,)`` of the next, valid until the following call."""
        return self._head(self._advance(self._table[token], self._output))

    def feed(self, tokens: Sequence[int] | Array) -> Array:
        """Read tokens ``(T,)``; scores ``(T, V)`` of what follows each."""
        return self._scores(self._recurrence.run(self._table[np.asarray(tokens)]))

    @property
    def state(self) -> State:
        """A copy of what the recurrent layers remember, ``(L, 1, H)`` each."""
        return self._recurrence.read_state()

    @state.setter
    def state(self, state: State) -> None:
        self._recurrence.write_state(*state)

    def reset(self) -> None:
        """Forget everything that was read."""
        self.state = self._first

    def _step(self, x: Array, out: Array) -> Array:
        out[:] = self._recurrence.run(x[None])[0]
        return out

    def _any_head(self, x: Array) -> Array:
        return self._scores(x[None])[0]

    def _scores(self, x: Array) -> Array:
        model = self._model
        known = {model.recurrent.name: x[None], model.table_name: self._table}
        return run_stages(np, model.head, model.weights, known)[model.answer][0]


def _step_head(model: "LMModel") -> Callable[[Array], Array] | None:
    """The last stages for one step, without what calling stages costs; None where they are more than linear."""
    layers: list[tuple[Array, Array]] = []
    for stage in model.head:
        own = model.weights[stage.name]
        if stage.kind in ("linear", "tied_linear"):
            weight = own.get("weight", model.table)
            bias = own.get("bias", np.zeros(len(weight), np.float32))
            layers.append((np.ascontiguousarray(weight), bias))
        elif stage.kind != "dropout":
            return None
    buffers = [np.empty(len(bias), np.float32) for _, bias in layers]

    def run(x: Array) -> Array:
        for (weight, bias), buffer in zip(layers, buffers, strict=True):
            np.dot(weight, x, buffer)
            x = np.add(buffer, bias, buffer)
        return x

    return run
