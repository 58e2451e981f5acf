"""The stages that every trained model is built from, each one text for NumPy and torch.

A model is a list of stages in the order of execution. A stage names its kind, the values it reads
and its options; its result is known by the stage's own name (further results as ``name.h``). The
torch side trains the same list (:mod:`lstmkit.nn.stages`), so what is trained is what is served.

Legend: ``B`` windows, ``T`` steps, ``F`` features, ``P`` steps per patch, ``S`` season, ``H`` horizon.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lstmkit.reference import run_sequence
from lstmkit.runtime import forecast_stages as forecast
from lstmkit.spec import CellSpec, ModelFileError

Array = Any
Options = Mapping[str, Any]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Stage:
    """One step of a model: what to do, on what, under which name.

    Args:
        name: Unique within the model; weights are stored as ``name.parameter``.
        kind: A key of :data:`STAGE_KINDS`.
        inputs: Names of earlier results or of the model's inputs.
        options: JSON-able settings of the kind.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """The stage as JSON can hold it."""
        return {"name": self.name, "kind": self.kind, "inputs": list(self.inputs), "options": dict(self.options)}

    @classmethod
    def from_dict(cls, document: Any) -> "Stage":
        """Read a stage from an untrusted document.

        Raises:
            ModelFileError: a field is missing or of the wrong type, or the kind is unknown.
        """
        try:
            stage = cls(
                document["name"], document["kind"], tuple(document["inputs"]), dict(document.get("options", {}))
            )
            texts = (stage.name, stage.kind, *stage.inputs)
        except (TypeError, KeyError, ValueError):
            raise ModelFileError("the model file is damaged: a stage is not described as one") from None
        if not all(isinstance(text, str) for text in texts):
            raise ModelFileError("the model file is damaged: a stage is not described as one")
        if stage.kind not in STAGE_KINDS:
            raise ModelFileError(
                f"the model has a stage of the kind {stage.kind!r}, which this lstmkit does not know; "
                "run: pip install --upgrade lstmkit"
            )
        return stage

    def parameter_shapes(self) -> Shapes:
        """Shapes of the stage's own parameters by their short names."""
        return STAGE_KINDS[self.kind].shapes(self.options)


@dataclass(frozen=True)
class StageKind:
    """How one kind of stage computes: ``run(xp, weights, inputs, options)``."""

    run: Callable[[Any, Mapping[str, Array], Sequence[Array], Options], Any]
    shapes: Callable[[Options], Shapes] = lambda options: {}
    extra_results: tuple[str, ...] = ()


def run_stages(
    xp: Any,
    stages: Sequence[Stage],
    weights: Mapping[str, Mapping[str, Array]],
    inputs: Mapping[str, Array],
    overrides: Mapping[str, Callable[..., Any]] | None = None,
) -> dict[str, Array]:
    """Execute a model.

    Args:
        xp: ``numpy`` or ``torch``.
        stages: The model, in order.
        weights: Stage name -> short parameter name -> array.
        inputs: The model's inputs by name.
        overrides: Stage name -> function of the stage's inputs, where an engine does better.

    Returns:
        Every value by name.
    """
    values: dict[str, Array] = dict(inputs)
    for stage in stages:
        kind = STAGE_KINDS[stage.kind]
        arguments = [values[name] for name in stage.inputs]
        if overrides and stage.name in overrides:
            result = overrides[stage.name](*arguments)
        else:
            result = kind.run(xp, weights.get(stage.name, {}), arguments, stage.options)
        if kind.extra_results:
            names = (stage.name, *(f"{stage.name}.{extra}" for extra in kind.extra_results))
            values.update(zip(names, result, strict=True))
        else:
            values[stage.name] = result
    return values


def _linear(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(..., F) -> (..., units). Inputs beyond the first are joined to it along the last axis."""
    x = inputs[0] if len(inputs) == 1 else xp.concatenate(list(inputs), axis=-1)
    y = x @ weights["weight"].T
    return y + weights["bias"] if "bias" in weights else y


def _linear_shapes(options: Options) -> Shapes:
    shapes: Shapes = {"weight": (options["units"], options["features"])}
    if options.get("bias", True):
        shapes["bias"] = (options["units"],)
    return shapes


def _recurrent(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Any:
    """(B, T, I), optionally with states (L*D, B, R) -> (B, T, D*R) and the last states."""
    x, *state = inputs
    spec = CellSpec.from_dict(options["cell"])
    result = run_sequence(xp, spec, weights, x.swapaxes(0, 1), tuple(state) or None)
    return result.output.swapaxes(0, 1), result.h, result.c


def _recurrent_shapes(options: Options) -> Shapes:
    return CellSpec.from_dict(options["cell"]).parameter_shapes()


def _relu(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    return inputs[0].clip(0)


def _add(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    total = inputs[0]
    for term in inputs[1:]:
        total = total + term
    return total


def _dropout(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """Identity: only the training side drops anything."""
    return inputs[0]


def _join_steps(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, T, F), (B, U, F) -> (B, T + U, F): one sequence after the other."""
    return xp.concatenate(list(inputs), axis=1)


def _last_steps(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, T, F) -> (B, steps, F)."""
    return inputs[0][:, -options["steps"] :]


STAGE_KINDS: dict[str, StageKind] = {
    "add": StageKind(_add),
    "dropout": StageKind(_dropout),
    "exponential": StageKind(forecast.exponential),
    "every_step": StageKind(forecast.every_step),
    "join_steps": StageKind(_join_steps),
    "last_steps": StageKind(_last_steps),
    "linear": StageKind(_linear, _linear_shapes),
    "logarithm": StageKind(forecast.logarithm),
    "patches": StageKind(forecast.patches),
    "queries": StageKind(forecast.queries, forecast.queries_shapes),
    "recurrent": StageKind(_recurrent, _recurrent_shapes, extra_results=("h", "c")),
    "relu": StageKind(_relu),
    "restore": StageKind(forecast.restore),
    "season_mix": StageKind(forecast.season_mix, forecast.season_mix_shapes),
    "shift": StageKind(forecast.shift, forecast.shift_shapes),
    "unpatch": StageKind(forecast.unpatch),
    "window_scale": StageKind(forecast.window_scale, extra_results=("mask", "location", "scale")),
}
