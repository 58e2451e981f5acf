"""A model as a chain of steps on a sequence: what a file of another system becomes, and what is written to one."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lstmkit.interop.layer import Array, Layer
from lstmkit.runtime import SequenceModel, Stage
from lstmkit.spec import CellSpec, ModelFileError, OptionError

# Axes of space, as the axes of files name them.
SPACE_LETTERS = "XYZ"


class Chain:
    """Stages of a :class:`lstmkit.runtime.SequenceModel`, each of which reads the one before.

    Recurrent layers that follow each other and differ in their input alone become one stack.

    ``notes`` says what is not exactly so on both sides, one sentence each; ``length`` counts what was appended;
    ``input_axes`` and ``output_axes`` say how the other system arranges batch, time and features (B, T and F, D for
    directions that stand apart, X, Y and Z for space). Output axes without T are those of the last step. ``space`` has
    the lengths of the axes of space where the file fixes them.
    """

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.weights: dict[str, Array] = {}
        self.notes: list[str] = []
        self.length = 0
        self.input_axes, self.output_axes = "BTF", "BTF"
        self.space: tuple[int, ...] = ()

    def add_recurrent(self, name: str, layer: Layer, states: Mapping[str, Array] | None = None) -> None:
        """Append a stack, with its learned first states ``(L*D, R)`` by letter if there are any.

        Raises:
            OptionError: the other system calls it in a way that no model that works step by step does.
        """
        _check_call(name, layer)
        if layer.spec.kernel_size:
            self._set_space(name, layer)
        self.length += 1
        self.notes += [f"{name}: {note}" for note in (*layer.notes, *_call_notes(layer.call))]
        last = self.stages[-1] if self.stages else None
        spec = CellSpec.from_dict(last.options["cell"]) if last and last.kind == "recurrent" else None
        learned = {} if not states else {"learn_initial_state": True}
        plain = not states and not (last and last.options.get("learn_initial_state"))
        if last and spec and plain and _same_but_input(spec, layer.spec):
            joined = replace(spec, num_layers=spec.num_layers + layer.spec.num_layers)
            self.stages[-1] = Stage(last.name, last.kind, last.inputs, {**last.options, "cell": joined.to_dict()})
            self._add_weights(last.name, layer, spec.num_layers)
            return
        name = self._append(name, "recurrent", {"cell": layer.spec.to_dict(), **learned})
        self._add_weights(name, layer, 0)
        self.weights |= {f"{name}.{letter}_0": state for letter, state in (states or {}).items()}

    def add_linear(self, name: str, weight: Array, bias: Array | None) -> None:
        """Append ``x @ weight.T + bias`` with ``weight (O, F)``."""
        units, features = weight.shape
        if self.space_axes:
            raise OptionError(f"{name!r} is a linear layer over space, which no stage of lstmkit does")
        self.length += 1
        name = self._append(name, "linear", {"features": features, "units": units, "bias": bias is not None})
        self.weights[f"{name}.weight"] = weight
        if bias is not None:
            self.weights[f"{name}.bias"] = bias

    def add(self, name: str, kind: str, **options: Any) -> None:
        """Append a stage without weights."""
        self.length += 1
        self._append(name, kind, options)

    def add_bias(self, bias: Array) -> bool:
        """Give the last stage this bias; False where it is no linear stage without one."""
        last = self.stages[-1] if self.stages else None
        if last is None or last.kind != "linear" or last.options["bias"] or bias.shape != (last.options["units"],):
            return False
        self.stages[-1] = Stage(last.name, last.kind, last.inputs, {**last.options, "bias": True})
        self.weights[f"{last.name}.bias"] = bias
        return True

    @property
    def last_cell(self) -> CellSpec:
        """That of the recurrent stage appended last."""
        return next(CellSpec.from_dict(s.options["cell"]) for s in reversed(self.stages) if s.kind == "recurrent")

    def model(self) -> SequenceModel:
        """The model of the chain.

        Raises:
            OptionError: it has no recurrent stage, or its stages do not fit together.
        """
        if not any(stage.kind == "recurrent" for stage in self.stages):
            raise OptionError("there is no recurrent layer in it")
        options = next(stage.options for stage in self.stages if stage.kind in ("recurrent", "linear"))
        sizes = {"input_size": options["cell"]["input_size"] if "cell" in options else options["features"]}
        sizes |= {"space_axes": self.space_axes} if self.space_axes else {}
        stages = [stage.to_dict() for stage in self.stages]
        try:
            return SequenceModel({"task": "sequence", "sequence": sizes, "stages": stages}, self.weights)
        except ModelFileError as error:
            raise OptionError(
                str(error).replace("the model file is damaged", "its layers do not fit together")
            ) from None

    @property
    def space_axes(self) -> int:
        """How many axes of space a step has."""
        return len(self.input_axes.strip("BTF"))

    def _set_space(self, name: str, layer: Layer) -> None:
        """Take over how the other system arranges the steps of a ConvLSTM, which all of a chain share."""
        space = SPACE_LETTERS[: len(layer.spec.kernel_size)]
        axes = f"BTF{space}" if layer.call.get("data_format") == "channels_first" else f"BT{space}F"
        if self.space_axes and self.input_axes != axes:
            raise OptionError(f"{name!r} reads the axes {axes}, but the layer before it gives {self.input_axes}")
        self.input_axes = self.output_axes = axes

    def _append(self, name: str, kind: str, options: dict[str, Any]) -> str:
        name = re.sub(r"\W", "_", name)[:80] or kind
        taken = {"x", *(stage.name for stage in self.stages)}
        name = next(other for k in range(len(taken) + 1) if (other := f"{name}_{k}" if k else name) not in taken)
        self.stages.append(Stage(name, kind, (self.stages[-1].name if self.stages else "x",), options))
        return name

    def _add_weights(self, stage: str, layer: Layer, below: int) -> None:
        """Under the numbers that the layers have in the stack, above ``below`` others."""
        for name, array in layer.parameters.items():
            kind, number, reverse = re.fullmatch(r"(.*_l)(\d+)(_reverse|)", name).groups()  # pyright: ignore
            self.weights[f"{stage}.{kind}{int(number) + below}{reverse}"] = array


def layer_of(model: SequenceModel, stage: Stage) -> Layer:
    """The stack of a recurrent stage, without the first states that it may have learned."""
    spec = CellSpec.from_dict(stage.options["cell"])
    own = model.weights[stage.name]
    return Layer(spec, {name: np.array(own[name]) for name in spec.parameter_shapes()})


def check_chain(model: SequenceModel, *, learned_states: bool = False) -> None:
    """Each stage reads the one before and nothing else.

    Raises:
        OptionError: one does not, or starts from learned states where these cannot be kept.
    """
    before = "x"
    for stage in model.stages:
        if stage.inputs != (before,):
            raise OptionError(f"the stage {stage.name!r} reads another one than that before it, so this is no chain")
        if stage.options.get("learn_initial_state") and not learned_states:
            raise OptionError(
                f"the stage {stage.name!r} has learned first states; .onnx and .safetensors can hold them"
            )
        before = stage.name


def _check_call(name: str, layer: Layer) -> None:
    """Refuse what needs the whole sequence, or joins directions otherwise."""
    call = layer.call
    if layer.spec.bidirectional and call.get("data_format") == "channels_first":
        raise OptionError(
            f"{name!r} joins its directions along space, because its channels stand first; nothing else does"
        )
    for option, value in {"go_backwards": True, "direction": "reverse"}.items():
        if call.get(option) == value:
            raise OptionError(
                f"{name!r} has {option}={value!r} and needs the whole sequence; a model works step by step; "
                "lstmkit.interop.read_layers with nn.KerasCall or nn.OnnxCall runs it"
            )
    if call.get("merge_mode", "concat") != "concat":
        raise OptionError(f"{name!r} has merge_mode={call['merge_mode']!r}; a stack of lstmkit joins by 'concat'")
    if layer.spec.bidirectional and not call.get("return_sequences", True):
        raise OptionError(f"{name!r} is bidirectional with return_sequences=False; its two ends are no step's answer")


def _call_notes(call: Mapping[str, Any]) -> list[str]:
    notes = {
        "return_state": "return_state=True has no counterpart; a stream has its state in .state",
        "stateful": "stateful=True is what a stream does; predict starts from zero",
    }
    found = [note for option, note in notes.items() if call.get(option)]
    if not call.get("return_sequences", True):
        found.append("return_sequences=False became an answer at every step, of which Keras gives the last")
    return found


def _same_but_input(first: CellSpec, second: CellSpec) -> bool:
    fits = second.input_size == first.output_size
    alike = replace(first, input_size=1, num_layers=1) == replace(second, input_size=1, num_layers=1)
    return fits and alike
