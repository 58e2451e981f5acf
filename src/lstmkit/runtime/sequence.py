"""A model over sequences: whole at once, or step by step with the state carried."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.reference import run_sequence
from lstmkit.runtime.model import Model
from lstmkit.runtime.stages import Stage, run_stages
from lstmkit.spec import CellSpec, OptionError, ShapeError

Array = NDArray[Any]
State = dict[str, tuple[Array, Array]]


class SequenceModel(Model):
    """A stack of stages from ``x`` to the last stage's value, one output per step.

    Example:
        >>> import numpy as np
        >>> from lstmkit.spec import CellSpec
        >>> spec = CellSpec(input_size=3, hidden_size=4)
        >>> stages = [{"name": "lstm", "kind": "recurrent", "inputs": ["x"], "options": {"cell": spec.to_dict()}}]
        >>> weights = {f"lstm.{name}": np.ones(shape) / 9 for name, shape in spec.parameter_shapes().items()}
        >>> model = SequenceModel({"task": "sequence", "stages": stages}, weights)
        >>> x = np.ones((5, 3), np.float32)
        >>> stream = model.stream()
        >>> bool(np.allclose(model.predict(x), [stream.step(row) for row in x], atol=1e-6))
        True
    """

    @property
    def input_size(self) -> int:
        """Features per step."""
        return _input_size(self.stages[0])

    def predict(self, x: Array) -> Array:
        """Run whole sequences from the zero state.

        Args:
            x: ``(T, I)`` or ``(B, T, I)``.

        Returns:
            ``(T, O)`` or ``(B, T, O)``.

        Raises:
            ShapeError: another shape.
        """
        x = np.asarray(x, np.float32)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"expected x of shape (T, {self.input_size}) or (B, T, {self.input_size}), got {tuple(x.shape)}"
            )
        batch = x if x.ndim == 3 else x[None]
        y = self.run({"x": batch})[self.stages[-1].name]
        return y if x.ndim == 3 else y[0]

    def stream(self) -> "Stream":
        """A stream that starts from the zero state.

        Raises:
            OptionError: the model reads its input backwards too, so no step can be answered at once.
        """
        return Stream(self)


class Stream:
    """One sequence, answered step by step. Its state is a value that can be read, set and moved.

    Args:
        model: Where the weights come from; many streams may share one model.
    """

    def __init__(self, model: SequenceModel) -> None:
        self._model = model
        self._specs = {
            stage.name: CellSpec.from_dict(stage.options["cell"]) for stage in model.stages if stage.kind == "recurrent"
        }
        if any(spec.bidirectional for spec in self._specs.values()):
            raise OptionError("a bidirectional model needs the whole sequence; it cannot stream: use predict")
        self._overrides: dict[str, Callable[..., Any]] = {
            name: partial(self._advance, name, spec) for name, spec in self._specs.items()
        }
        self.reset()

    def step(self, x: Array) -> Array:
        """Feed one step ``(I,)`` and get its output ``(O,)``."""
        return self.run(np.asarray(x, np.float32)[None])[0]

    def run(self, x: Array) -> Array:
        """Feed a block of steps ``(T, I)`` and get their outputs ``(T, O)``.

        Raises:
            ShapeError: another shape.
        """
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self._model.input_size:
            raise ShapeError(f"expected {self._model.input_size} features per step, got the shape {x.shape[1:]}")
        model = self._model
        return run_stages(np, model.stages, model.weights, {"x": x[None]}, self._overrides)[model.stages[-1].name][0]

    def reset(self) -> None:
        """Back to the zero state."""
        self._state: State = {name: _zero_state(spec) for name, spec in self._specs.items()}

    @property
    def state(self) -> State:
        """A copy of the state: stage name -> (h, c), each ``(L, 1, R or H)``."""
        return {name: (h.copy(), c.copy()) for name, (h, c) in self._state.items()}

    @state.setter
    def state(self, state: Mapping[str, tuple[Array, Array]]) -> None:
        expected = {name: _zero_state(spec) for name, spec in self._specs.items()}
        arrays = {name: tuple(np.array(part, np.float32) for part in parts) for name, parts in state.items()}
        if {n: [p.shape for p in parts] for n, parts in arrays.items()} != {
            n: [p.shape for p in parts] for n, parts in expected.items()
        }:
            raise ShapeError("this state belongs to another model: its names or shapes differ")
        self._state = arrays  # pyright: ignore[reportAttributeAccessIssue]

    def clone(self) -> "Stream":
        """A second stream at the same point; the two go on independently."""
        other = Stream(self._model)
        other.state = self.state
        return other

    def _advance(self, name: str, spec: CellSpec, x: Array) -> tuple[Array, Array, Array]:
        result = run_sequence(np, spec, self._model.weights[name], x.swapaxes(0, 1), self._state[name])
        self._state[name] = (result.h, result.c)
        return result.output.swapaxes(0, 1), result.h, result.c


def _input_size(stage: Stage) -> int:
    cell = stage.options.get("cell")
    return CellSpec.from_dict(cell).input_size if cell else stage.options["features"]


def _zero_state(spec: CellSpec) -> tuple[Array, Array]:
    h = np.zeros((spec.num_layers, 1, spec.state_size), np.float32)
    return h, np.zeros((spec.num_layers, 1, spec.hidden_size), np.float32)
