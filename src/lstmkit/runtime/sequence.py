"""A model over sequences: whole at once, or step by step with the state carried."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.reference import run_sequence
from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import Document
from lstmkit.runtime.stage_shapes import BATCH, STEPS, Shape, count
from lstmkit.runtime.stages import Stage, run_stages
from lstmkit.spec import CellSpec, DataError, ModelFileError, OptionError, ShapeError

Array = NDArray[Any]
State = dict[str, Array]

# What maps every step by itself, or carries a state from step to step.
STEP_KINDS = ("add", "dropout", "exponential", "linear", "logarithm", "recurrent", "relu")


class SequenceModel(Model):
    """A stack of stages from ``x`` to the last stage's value, one output per step.

    :func:`lstmkit.nn.save_model` writes such models.

    Raises:
        ModelFileError: the document does not describe one.

    Example:
        >>> import numpy as np
        >>> from lstmkit.spec import CellSpec
        >>> spec = CellSpec(input_size=3, hidden_size=4)
        >>> stages = [{"name": "lstm", "kind": "recurrent", "inputs": ["x"], "options": {"cell": spec.to_dict()}}]
        >>> weights = {f"lstm.{name}": np.ones(shape) / 9 for name, shape in spec.parameter_shapes().items()}
        >>> model = SequenceModel({"task": "sequence", "sequence": {"input_size": 3}, "stages": stages}, weights)
        >>> x = np.ones((5, 3), np.float32)
        >>> stream = model.stream()
        >>> bool(np.allclose(model.predict(x), [stream.step(row) for row in x], atol=1e-6))
        True
    """

    def __init__(self, document: Document, weights: Mapping[str, Array]) -> None:
        try:
            self.input_size = count(document["sequence"], "input_size")
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ModelFileError("the model file is damaged: it does not say how many features a step has") from None
        super().__init__(document, weights)
        for stage in self.stages:
            _check_steps(stage)
        if len(self.shapes[self.answer]) != 3 or self.shapes[self.answer][:2] != (BATCH, STEPS):
            raise ModelFileError("the model file is damaged: its last stage does not answer every step")

    def input_shapes(self) -> dict[str, Shape]:
        """One sequence of features, ``x``."""
        return {"x": (BATCH, STEPS, self.input_size)}

    @property
    def output_size(self) -> int:
        """Features of each step's output."""
        return self.shapes[self.answer][-1]

    def predict(self, x: ArrayLike) -> Array:
        """Run whole sequences from the first state.

        Args:
            x: ``(T, I)`` or ``(B, T, I)``.

        Returns:
            ``(T, O)`` or ``(B, T, O)``, float32.

        Raises:
            ShapeError: another shape.
            DataError: something that is not a finite number.
        """
        shape = np.shape(x)
        if len(shape) not in (2, 3) or shape[-1] != self.input_size or shape[-2] == 0:
            raise ShapeError(f"expected x of shape (T, {self.input_size}) or (B, T, {self.input_size}), got {shape}")
        steps = _numbers(x)
        answer = self.run({"x": steps if len(shape) == 3 else steps[None]})[self.answer]
        return answer if len(shape) == 3 else answer[0]

    def stream(self) -> "Stream":
        """A stream that starts from the first state.

        Raises:
            OptionError: the model reads its input backwards too, so no step can be answered at once.
        """
        return Stream(self)


class Stream:
    """One sequence, answered step by step. Its state is a value that can be read, set and moved.

    Args:
        model: Where the weights come from; many streams may share one model.

    Raises:
        OptionError: the model is bidirectional.
    """

    def __init__(self, model: SequenceModel) -> None:
        self._model = model
        cells = {
            stage.name: CellSpec.from_dict(stage.options["cell"]) for stage in model.stages if stage.kind == "recurrent"
        }
        if any(spec.bidirectional for spec in cells.values()):
            raise OptionError("a bidirectional model needs the whole sequence; it cannot stream: use predict")
        self._overrides: dict[str, Callable[..., Any]] = {
            name: partial(self._advance, name, spec) for name, spec in cells.items()
        }
        self._first = {
            f"{name}.{letter}": _first_state(model.weights[name].get(f"{letter}_0"), spec.num_layers, size)
            for name, spec in cells.items()
            for letter, size in (("h", spec.state_size), ("c", spec.hidden_size))
        }
        self.reset()

    def step(self, x: ArrayLike) -> Array:
        """Feed one step ``(I,)`` and get its output ``(O,)``.

        Raises:
            ShapeError: another shape.
            DataError: something that is not a finite number.
        """
        if np.shape(x) != (self._model.input_size,):
            raise ShapeError(f"expected a step of shape ({self._model.input_size},), got {np.shape(x)}")
        return self.run(np.asarray(x)[None])[0]

    def run(self, x: ArrayLike) -> Array:
        """Feed a block of steps ``(T, I)`` and get their outputs ``(T, O)``.

        Raises:
            ShapeError: another shape.
            DataError: something that is not a finite number; the state stays as it was.
        """
        shape = np.shape(x)
        if len(shape) != 2 or shape[1] != self._model.input_size or not shape[0]:
            raise ShapeError(f"expected steps of shape (T, {self._model.input_size}), got {shape}")
        model = self._model
        values = run_stages(np, model.stages, model.weights, {"x": _numbers(x)[None]}, self._overrides)
        return values[model.answer][0]

    def reset(self) -> None:
        """Back to the first state: zero, or what was learned."""
        self._state: State = dict(self._first)

    @property
    def state(self) -> State:
        """A copy of the state by name, ``lstm.h (L, 1, R)`` and ``lstm.c (L, 1, H)``; ``np.savez`` can keep it."""
        return {name: array.copy() for name, array in self._state.items()}

    @state.setter
    def state(self, state: Mapping[str, ArrayLike]) -> None:
        expected = {name: array.shape for name, array in self._first.items()}
        found = {name: np.shape(state[name]) for name in state}
        if found != expected:
            raise ShapeError(f"this state belongs to another model: expected {expected}, got {found}")
        self._state = {name: _numbers(state[name]).copy() for name in expected}

    def clone(self) -> "Stream":
        """A second stream at the same point; the two go on independently."""
        other = Stream(self._model)
        other.state = self.state
        return other

    def _advance(self, name: str, spec: CellSpec, x: Array) -> tuple[Array, Array, Array]:
        state = self._state[f"{name}.h"], self._state[f"{name}.c"]
        result = run_sequence(np, spec, self._model.weights[name], x.swapaxes(0, 1), state)
        self._state |= {f"{name}.h": result.h, f"{name}.c": result.c}
        return result.output.swapaxes(0, 1), result.h, result.c


def _check_steps(stage: Stage) -> None:
    """Refuse what would answer a step otherwise in a stream than in a whole sequence."""
    if stage.kind not in STEP_KINDS:
        raise ModelFileError(f"a sequence model works step by step; it cannot have a stage of the kind {stage.kind!r}")
    if any("." in name for name in stage.inputs) or (stage.kind == "recurrent" and len(stage.inputs) > 1):
        raise ModelFileError(f"in a sequence model a stage reads the outputs of others only; {stage.name!r} reads more")


def _first_state(learned: Array | None, rows: int, size: int) -> Array:
    return np.zeros((rows, 1, size), np.float32) if learned is None else learned[:, None]


def _numbers(x: ArrayLike) -> NDArray[np.float32]:
    """Finite float32 numbers, or an error that says where they are not."""
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise DataError(f"expected numbers, got values of the type {array.dtype}")
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        place = tuple(np.argwhere(~np.isfinite(single))[0].tolist())
        raise DataError(f"the value at {place} is {array[place]}; fill missing steps, or leave them out")
    return single
