"""A model over sequences: whole at once, or step by step with the state carried."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import Document
from lstmkit.runtime.numbers import finite_float32
from lstmkit.runtime.pool import StreamPool
from lstmkit.runtime.recurrence import pack, state_shapes
from lstmkit.runtime.stage_shapes import BATCH, STEPS, Shape, count
from lstmkit.runtime.stages import Stage
from lstmkit.runtime.stream import Stream
from lstmkit.spec import CellSpec, ModelFileError, OptionError, ShapeError

Array = NDArray[Any]

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
        self._cells = {
            stage.name: CellSpec.from_dict(stage.options["cell"]) for stage in self.stages if stage.kind == "recurrent"
        }
        self._first_states = {name: _first_state(spec, self.weights[name]) for name, spec in self._cells.items()}
        self._packed: dict[tuple[str, str], Any] = {}

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
        steps = finite_float32(x)
        answer = self.run({"x": steps if len(shape) == 3 else steps[None]})[self.answer]
        return answer if len(shape) == 3 else answer[0]

    def stream(self, *, precision: str = "float32", threads: int = 1) -> Stream:
        """A stream that starts from the first state; arguments and errors as for :class:`Stream`."""
        return Stream(self, precision=precision, threads=threads)

    def pool(self, capacity: int, *, precision: str = "float32", threads: int | None = None) -> StreamPool:
        """Many streams that start from the first state; arguments and errors as for :class:`StreamPool`."""
        return StreamPool(self, capacity, precision=precision, threads=threads)

    def streamed_cells(self) -> dict[str, CellSpec]:
        """The recurrent stages by name.

        Raises:
            OptionError: one reads its input backwards too, so no step can be answered at once.
        """
        if any(spec.bidirectional for spec in self._cells.values()):
            raise OptionError("a bidirectional model needs the whole sequence; it cannot stream: use predict")
        return dict(self._cells)

    def first_states(self) -> dict[str, tuple[Array, Array]]:
        """h ``(L, 1, R)`` and c ``(L, 1, H)`` of each recurrent stage at first: zero, or what was learned."""
        return dict(self._first_states)

    def packed(self, core: ModuleType, name: str, precision: str) -> Any:
        """A recurrent stage's weights as the native core reads them, packed once for all streams."""
        if (name, precision) not in self._packed:
            self._packed[name, precision] = pack(core, self._cells[name], self.weights[name], precision)
        return self._packed[name, precision]


def _check_steps(stage: Stage) -> None:
    """Refuse what would answer a step otherwise in a stream than in a whole sequence."""
    if stage.kind not in STEP_KINDS:
        raise ModelFileError(f"a sequence model works step by step; it cannot have a stage of the kind {stage.kind!r}")
    if any("." in name for name in stage.inputs) or (stage.kind == "recurrent" and len(stage.inputs) > 1):
        raise ModelFileError(f"in a sequence model a stage reads the outputs of others only; {stage.name!r} reads more")


def _first_state(spec: CellSpec, weights: Mapping[str, Array]) -> tuple[Array, Array]:
    h, c = (
        np.zeros(shape, np.float32) if f"{letter}_0" not in weights else weights[f"{letter}_0"][:, None]
        for letter, shape in zip("hc", state_shapes(spec), strict=True)
    )
    return h, c
