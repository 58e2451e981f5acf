"""A loaded model: stages and weights, executed by NumPy in float32. No torch."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.runtime.cell_input import learned_state
from lstmkit.runtime.model_file import Document, Weights, write_model
from lstmkit.runtime.recurrence import State, find_core, pack, state_shapes
from lstmkit.runtime.stage_shapes import Shape, takes_lengths
from lstmkit.runtime.stages import Stage, check_stages, run_stages
from lstmkit.runtime.whole import run_uneven, run_whole
from lstmkit.spec import CellSpec, ModelFileError

Array = NDArray[Any]
StageWeights = dict[str, dict[str, Array]]


class Model:
    """What every loaded model has: its document, its stages, and ``run``.

    A task's model says what its stages are fed, in :meth:`input_shapes`, and whether they answer what it needs.

    Args:
        document: The JSON document of a model file.
        weights: Arrays by ``stage.parameter``.

    Raises:
        ModelFileError: the stages are not ones, or the weights are not those that the stages need.
    """

    def __init__(self, document: Document, weights: Mapping[str, Array]) -> None:
        self.document = document
        if not isinstance(document.get("scores", {}), dict):
            raise ModelFileError("the model file is damaged: its scores are not ones")
        self.stages = read_stages(document)
        self.shapes = check_stages(self.stages, self.input_shapes())
        self.weights = arrange_weights(self.stages, weights)
        self.cells = {
            stage.name: CellSpec.from_dict(stage.options["cell"]) for stage in self.stages if stage.kind == "recurrent"
        }
        self._packed: dict[tuple[str, str], Any] = {}

    def input_shapes(self) -> dict[str, Shape]:
        """Shapes of the inputs by name; see :mod:`lstmkit.runtime.stage_shapes`."""
        return {}

    @property
    def answer(self) -> str:
        """The name of the value that the last stage gives."""
        return self.stages[-1].name

    @property
    def scores(self) -> dict[str, Any]:
        """The scores that the model was saved with."""
        return dict(self.document.get("scores", {}))

    def run(self, inputs: Mapping[str, Array], stages: Sequence[Stage] | None = None) -> dict[str, Array]:
        """Execute all stages, or some of them; every value by name."""
        stages = self.stages if stages is None else stages
        overrides: dict[str, Callable[..., Any]] = {}
        for stage in stages:
            if stage.name in self.cells and (core := find_core("float32", self.cells[stage.name])):
                uneven = self._run_uneven if takes_lengths(stage.options) else self._run_even
                overrides[stage.name] = partial(uneven, core, stage.name)
        return run_stages(np, stages, self.weights, inputs, overrides)

    def packed(self, core: ModuleType, name: str, precision: str) -> Any:
        """A recurrent stage's weights as the native core reads them, packed once for all streams."""
        if (name, precision) not in self._packed:
            self._packed[name, precision] = pack(core, self.cells[name], self.weights[name], precision)
        return self._packed[name, precision]

    def _packed_direction(self, core: ModuleType, name: str, layer: int, direction: int) -> Any:
        """The same of one layer and direction."""
        key = (name, f"layer {layer}, direction {direction}")
        if key not in self._packed:
            suffix = self.cells[name].layer_suffixes(layer)[direction]
            weights = self.weights[name]
            own = {f"{k.removesuffix(suffix)}_l0": weights[k] for k in weights if k.endswith(suffix)}
            one = replace(self.cells[name].layer(layer), bidirectional=False)
            self._packed[key] = pack(core, one, own, "float32")
        return self._packed[key]

    def first_states(self, spaces: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, State]:
        """The states ``(L, 1, ...)`` of each recurrent stage at first: zero, or what was learned.

        Args:
            spaces: Stage name -> lengths of the axes of space that it reads, where it is a ConvLSTM's.
        """
        return {
            name: _first_state(spec, self.weights[name], (spaces or {}).get(name, ()))
            for name, spec in self.cells.items()
        }

    def _run_even(self, core: ModuleType, name: str, x: Array, *state: Array) -> tuple[Array, ...]:
        if self.cells[name].bidirectional:
            return self._run_uneven(core, name, x, np.full(len(x), x.shape[1]), *state)
        state = state or self._first_of(name, len(x))
        return run_whole(core, self.cells[name], self.packed(core, name, "float32"), x, state)

    def _run_uneven(self, core: ModuleType, name: str, x: Array, lengths: Array, *state: Array) -> tuple[Array, ...]:
        state = state or self._first_of(name, len(x))
        packed = partial(self._packed_direction, core, name)
        return run_uneven(core, self.cells[name], packed, x, np.asarray(lengths, np.int64), state)

    def _first_of(self, name: str, count: int) -> State:
        return tuple(np.repeat(array, count, axis=1) for array in self.first_states()[name])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file; see :func:`lstmkit.runtime.model_file.write_model`."""
        write_model(path, self.document, flatten_weights(self.weights))


def read_stages(document: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of an untrusted document.

    Raises:
        ModelFileError: it has none, or one is not described as a stage.
    """
    described = document.get("stages")
    if not isinstance(described, list) or not described:
        raise ModelFileError("the model file is damaged: it lists no stages")
    return tuple(Stage.from_dict(stage) for stage in described)  # pyright: ignore[reportUnknownVariableType]


def arrange_weights(stages: tuple[Stage, ...], weights: Mapping[str, Array]) -> StageWeights:
    """Nest weights by stage, and hold names and shapes against what the stages declare."""
    arranged: StageWeights = {}
    left = dict(weights)
    for stage in stages:
        arranged[stage.name] = {}
        for short, shape in _declared_shapes(stage).items():
            name = f"{stage.name}.{short}"
            if name not in left:
                raise ModelFileError(f"the model file is damaged: the weights {name!r} are missing")
            array = left.pop(name)
            if array.shape != shape:
                raise ModelFileError(
                    f"the model file is damaged: the weights {name!r} have the shape {array.shape}, expected {shape}"
                )
            arranged[stage.name][short] = np.asarray(array, np.float32)
    if left:
        raise ModelFileError(f"the model file is damaged: no stage uses the weights {sorted(left)[0][:100]!r}")
    return arranged


def _declared_shapes(stage: Stage) -> dict[str, Shape]:
    try:
        return stage.parameter_shapes()
    except (KeyError, TypeError, ValueError):
        raise ModelFileError(
            f"the model file is damaged: the options of the stage {stage.name!r} make no sense"
        ) from None


def flatten_weights(weights: Mapping[str, Mapping[str, Array]]) -> Weights:
    """The inverse of :func:`arrange_weights`."""
    return {f"{stage}.{short}": array for stage, own in weights.items() for short, array in own.items()}


def _first_state(spec: CellSpec, weights: Mapping[str, Array], space: tuple[int, ...]) -> State:
    learned = learned_state(np, spec, weights, 1, space)
    return learned or tuple(np.zeros(shape, np.float32) for shape in state_shapes(spec, space))
