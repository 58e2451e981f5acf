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
from lstmkit.runtime import classify_stages as classify
from lstmkit.runtime import forecast_stages as forecast
from lstmkit.runtime import lm_stages as lm
from lstmkit.runtime import stage_shapes as shapes
from lstmkit.runtime import tag_stages as tag
from lstmkit.runtime import text_stages as text
from lstmkit.runtime import translate_stages as translate
from lstmkit.runtime.cell_input import learned_state, split_extra
from lstmkit.runtime.products import times
from lstmkit.runtime.stage_shapes import Options, Shape, Shapes
from lstmkit.spec import CellSpec, ModelFileError

Array = Any


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
        fields: dict[str, Any] = document if isinstance(document, dict) else {}  # pyright: ignore[reportUnknownVariableType]
        name, kind, inputs, options = [fields.get(key) for key in ("name", "kind", "inputs", "options")]
        if not (_is_name(name) and isinstance(kind, str) and isinstance(inputs, list) and isinstance(options, dict)):
            raise ModelFileError("the model file is damaged: a stage is not described as one")
        reads: list[Any] = inputs  # pyright: ignore[reportUnknownVariableType]
        if not reads or not all(isinstance(text, str) for text in reads):
            raise ModelFileError(f"the model file is damaged: the stage {name!r} does not say what it reads")
        if kind not in STAGE_KINDS:
            raise ModelFileError(
                f"the model has a stage of the kind {kind[:40]!r}, which this lstmkit does not know; "
                "run: pip install --upgrade lstmkit"
            )
        return cls(fields["name"], kind, tuple(reads), fields["options"])

    def parameter_shapes(self) -> Shapes:
        """Shapes of the stage's own parameters by their short names.

        Raises:
            ValueError: an option is missing or makes no sense.
        """
        return STAGE_KINDS[self.kind].parameters(self.options)

    def result_shapes(self, known: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes of the stage's results by name, from those of the values before it.

        Raises:
            ValueError: an option makes no sense, or the values do not fit.
        """
        found = STAGE_KINDS[self.kind].shapes(self.options, [known[name] for name in self.inputs])
        for shape in found:
            shapes.check_elements(shape)
        return dict(zip(self.results, found, strict=True))

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the values that the stage gives, its own name first."""
        extra = STAGE_KINDS[self.kind].extra_results(self.options)
        return (self.name, *(f"{self.name}.{name}" for name in extra))


def _is_name(name: Any) -> bool:
    """A dot would be taken for the one before a parameter's name."""
    return isinstance(name, str) and 0 < len(name) <= 100 and "." not in name


@dataclass(frozen=True)
class StageKind:
    """What one kind of stage does.

    Args:
        run: The computation, ``run(xp, weights, inputs, options)``.
        shapes: Shapes of its results from those of its inputs; ValueError where these do not fit.
        parameters: Shapes of its parameters by their short names.
        extra_results: Names of what it gives beside its main result.
    """

    run: Callable[[Any, Mapping[str, Array], Sequence[Array], Options], Any]
    shapes: Callable[[Options, Sequence[Shape]], tuple[Shape, ...]]
    parameters: Callable[[Options], Shapes] = lambda options: {}
    extra_results: Callable[[Options], tuple[str, ...]] = lambda options: ()


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
        results = stage.results
        values.update(zip(results, result if len(results) > 1 else (result,), strict=True))
    return values


def check_stages(stages: Sequence[Stage], inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Hold the stages of an untrusted file together, without computing anything.

    Args:
        stages: In the order of execution.
        inputs: Shapes of the model's inputs; see :mod:`lstmkit.runtime.stage_shapes`.

    Returns:
        The shape of every value by name.

    Raises:
        ModelFileError: a stage reads what does not exist before it, takes another's name, or has options or
            inputs that do not fit.
    """
    known: dict[str, Shape] = dict(inputs)
    for stage in stages:
        for name in stage.inputs:
            if name not in known:
                raise ModelFileError(
                    f"the model file is damaged: the stage {stage.name!r} reads {name[:40]!r}, which no stage before "
                    "it gives"
                )
        try:
            results = stage.result_shapes(known)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ModelFileError(
                f"the model file is damaged: the stage {stage.name!r} makes no sense ({str(error)[:120]})"
            ) from None
        if not known.keys().isdisjoint(results):
            raise ModelFileError(f"the model file is damaged: two values are called {stage.name!r}")
        known |= results
    return known


def _linear(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(..., F) -> (..., units). Inputs beyond the first are joined to it along the last axis."""
    x = inputs[0] if len(inputs) == 1 else xp.concatenate(list(inputs), axis=-1)
    y = times(x, weights["weight"])
    return y + weights["bias"] if "bias" in weights else y


def _recurrent(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Any:
    """(B, T, I), optionally with lengths (B,) and the cell's states (L*D, B, ...) -> (B, T, D*R) and the last states.

    What a cell reads beside its input, times, intervals or static features, are the last columns of that input. A
    ConvLSTM's input and output have their axes of space behind all others.
    """
    x, *state = inputs
    lengths = state.pop(0) if shapes.takes_lengths(options) else None
    spec = CellSpec.from_dict(options["cell"])
    first = state or learned_state(xp, spec, weights, x.shape[0], tuple(x.shape[3:]))
    features, extra = split_extra(spec, x.swapaxes(0, 1))
    result = run_sequence(xp, spec, weights, features, first, extra=extra, lengths=lengths)
    return result.output.swapaxes(0, 1), *result.state


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


def _join_features(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(..., F), (..., G) -> (..., F + G): side by side."""
    return xp.concatenate(list(inputs), axis=-1)


def _join_steps(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, T, F), (B, U, F) -> (B, T + U, F): one sequence after the other."""
    return xp.concatenate(list(inputs), axis=1)


def _last_steps(xp: Any, weights: Mapping[str, Array], inputs: Sequence[Array], options: Options) -> Array:
    """(B, T, F) -> (B, steps, F)."""
    return inputs[0][:, -options["steps"] :]


STAGE_KINDS: dict[str, StageKind] = {
    "adaptive_softmax": StageKind(lm.adaptive_softmax, lm.adaptive_softmax_shape, lm.adaptive_softmax_parameters),
    "add": StageKind(_add, shapes.add),
    "attend": StageKind(
        translate.attend, translate.attend_shapes, translate.attend_parameters, lambda options: ("weights",)
    ),
    "attention_pool": StageKind(
        text.attention_pool,
        text.attention_pool_shapes,
        text.attention_pool_parameters,
        lambda options: ("weights",),
    ),
    "bag": StageKind(classify.bag, classify.bag_shape, classify.bag_parameters),
    "crf": StageKind(tag.crf, tag.crf_shapes, tag.crf_parameters, tag.crf_results),
    "dropout": StageKind(_dropout, shapes.dropout),
    "embedding": StageKind(
        text.embedding,
        text.embedding_shapes,
        text.embedding_parameters,
        lambda options: ("weight",) if text.is_shared(options) else (),
    ),
    "every_step": StageKind(forecast.every_step, shapes.every_step),
    "exponential": StageKind(forecast.exponential, shapes.same),
    "gather": StageKind(tag.gather, tag.gather_shape),
    "join_directions": StageKind(tag.join_directions, tag.join_directions_shape),
    "join_features": StageKind(_join_features, shapes.join_features),
    "join_steps": StageKind(_join_steps, shapes.join_steps),
    "last_steps": StageKind(_last_steps, shapes.last_steps),
    "linear": StageKind(_linear, shapes.linear, shapes.linear_parameters),
    "logarithm": StageKind(forecast.logarithm, shapes.same),
    "patches": StageKind(forecast.patches, shapes.patches),
    "pool": StageKind(text.pool, text.pool_shape),
    "queries": StageKind(forecast.queries, shapes.queries, shapes.queries_parameters),
    "recurrent": StageKind(_recurrent, shapes.recurrent, shapes.recurrent_parameters, shapes.recurrent_states),
    "relu": StageKind(_relu, shapes.same),
    "restore": StageKind(forecast.restore, shapes.restore),
    "season_mix": StageKind(forecast.season_mix, shapes.season_mix, shapes.season_mix_parameters),
    "shift": StageKind(forecast.shift, shapes.shift, shapes.shift_parameters),
    "tanh": StageKind(translate.tanh, shapes.same),
    "tied_linear": StageKind(text.tied_linear, text.tied_linear_shapes, text.tied_linear_parameters),
    "unpatch": StageKind(forecast.unpatch, shapes.unpatch),
    "window_scale": StageKind(
        forecast.window_scale, shapes.window_scale, extra_results=lambda options: ("mask", "location", "scale")
    ),
}
