"""A model over sequences: whole at once, or step by step with the state carried."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import Document
from lstmkit.runtime.numbers import finite_float32
from lstmkit.runtime.pool import StreamPool
from lstmkit.runtime.stage_shapes import BATCH, SPACE, STEPS, Shape, count
from lstmkit.runtime.stages import Stage
from lstmkit.runtime.stream import Stream
from lstmkit.spec import CellSpec, ModelFileError, OptionError, ShapeError

Array = NDArray[Any]

# What maps every step by itself, or carries a state from step to step.
STEP_KINDS = ("add", "dropout", "exponential", "linear", "logarithm", "recurrent", "relu")


class SequenceModel(Model):
    """A stack of stages from ``x`` to the last stage's value, one output per step.

    :func:`lstmkit.nn.save_model` writes such models. A step has ``I`` features; what a cell reads beside its input,
    times, intervals or static features, are the last of them. Where there is a ConvLSTM, axes of space stand behind
    the features in input and output.

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
            sizes = document["sequence"]
            self.input_size = count(sizes, "input_size")
            self.space_axes = count(sizes, "space_axes") if "space_axes" in sizes else 0
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ModelFileError("the model file is damaged: it does not say how many features a step has") from None
        if self.space_axes > len(SPACE):
            raise ModelFileError(f"the model file is damaged: a step cannot have {self.space_axes} axes of space")
        super().__init__(document, weights)
        for stage in self.stages:
            _check_steps(stage)
        shape = self.shapes[self.answer]
        if len(shape) != 3 + self.space_axes or shape[:2] != (BATCH, STEPS):
            raise ModelFileError("the model file is damaged: its last stage does not answer every step")

    def input_shapes(self) -> dict[str, Shape]:
        """One sequence of features, ``x``."""
        return {"x": (BATCH, STEPS, self.input_size, *SPACE[: self.space_axes])}

    @property
    def output_size(self) -> int:
        """Features of each step's output."""
        return self.shapes[self.answer][2]

    def predict(self, x: ArrayLike) -> Array:
        """Run whole sequences from the first state.

        Args:
            x: ``(T, I)`` or ``(B, T, I)``, with axes of space behind where the model has any.

        Returns:
            ``(T, O)`` or ``(B, T, O)`` alike, float32.

        Raises:
            ShapeError: another shape.
            DataError: something that is not a finite number, or an interval that is negative.
        """
        shape, axes = np.shape(x), self.space_axes
        step = ", ".join([str(self.input_size), *"XYZ"[:axes]])
        if len(shape) not in (2 + axes, 3 + axes) or shape[-1 - axes] != self.input_size or shape[-2 - axes] == 0:
            raise ShapeError(f"expected x of shape (T, {step}) or (B, T, {step}), got {shape}")
        steps, batched = finite_float32(x), len(shape) == 3 + axes
        answer = self.run({"x": steps if batched else steps[None]})[self.answer]
        return answer if batched else answer[0]

    def stream(self, *, precision: str = "float32", threads: int = 1, space: Sequence[int] = ()) -> Stream:
        """A stream that starts from the first state; arguments and errors as for :class:`Stream`."""
        return Stream(self, precision=precision, threads=threads, space=space)

    def pool(
        self, capacity: int, *, precision: str = "float32", threads: int | None = None, space: Sequence[int] = ()
    ) -> StreamPool:
        """Many streams that start from the first state; arguments and errors as for :class:`StreamPool`."""
        return StreamPool(self, capacity, precision=precision, threads=threads, space=space)

    def spaces(self, space: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Lengths of the axes of space that each recurrent stage reads.

        Args:
            space: Those of the input.

        Raises:
            ShapeError: these are not as many lengths as the model has axes, or its kernels leave nothing of them.
        """
        if len(np.shape(space)) != 1 or len(space) != self.space_axes or not all(_is_length(size) for size in space):
            axes = f"{self.space_axes} axes of space; give the length of each"
            raise ShapeError(f"a step of this model has {axes}, not space={space!r}")
        shapes: dict[str, Shape] = {"x": (BATCH, STEPS, self.input_size, *space)}
        for stage in self.stages:
            try:
                shapes |= stage.result_shapes(shapes)
            except ValueError as error:
                raise ShapeError(f"{stage.name!r} cannot run over a space of {tuple(space)}: {error}") from None
        return {stage.name: shapes[stage.inputs[0]][3:] for stage in self.stages if stage.name in self.cells}

    def streamed_cells(self) -> dict[str, CellSpec]:
        """The recurrent stages by name.

        Raises:
            OptionError: one reads its input backwards too, so no step can be answered at once.
        """
        if any(spec.bidirectional for spec in self.cells.values()):
            raise OptionError("a bidirectional model needs the whole sequence; it cannot stream: use predict")
        return dict(self.cells)


def _is_length(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 1


def _check_steps(stage: Stage) -> None:
    """Refuse what would answer a step otherwise in a stream than in a whole sequence."""
    if stage.kind not in STEP_KINDS:
        raise ModelFileError(f"a sequence model works step by step; it cannot have a stage of the kind {stage.kind!r}")
    if any("." in name for name in stage.inputs) or (stage.kind == "recurrent" and len(stage.inputs) > 1):
        raise ModelFileError(f"in a sequence model a stage reads the outputs of others only; {stage.name!r} reads more")
