"""The trainable twin of a runtime model: the same stages, executed by torch."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstmkit.nn.build import build
from lstmkit.nn.layer import RecurrentLayer
from lstmkit.nn.regularisers import Rates
from lstmkit.nn.run import is_plain, transforming
from lstmkit.ops import Bag, can_attend, can_look_up, draw_factors, look_up, run_attention_pool
from lstmkit.runtime.stage_shapes import takes_lengths
from lstmkit.runtime.stages import Stage, run_stages
from lstmkit.runtime.text_stages import attention_pool, is_shared
from lstmkit.spec import CellSpec

# Set after training, not by it: the conformal calibration.
_NOT_TRAINED = {"shift"}
_FEW_PRODUCTS = 2**19


class StagedModel(nn.Module):
    """A model given by its stages, with its parameters as ordinary tensors.

    Linear and embedding stages start as torch's do, recurrent ones as the layer of their cell, attention as a linear
    stage, everything else at zero.

    Args:
        stages: The model, in order of execution.

    Example:
        >>> stage = Stage("head", "linear", ("x",), {"features": 3, "units": 2})
        >>> StagedModel([stage])({"x": torch.ones(5, 3)})["head"].shape
        torch.Size([5, 2])
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.parts = nn.ModuleDict({stage.name: _part(stage) for stage in stages if stage.parameter_shapes()})

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        overrides: Mapping[str, Callable[..., Any]] | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, Tensor]:
        """Values of the model by name.

        Args:
            inputs: The model's inputs by name.
            overrides: Stage name -> function of the stage's inputs, in place of what runs it otherwise.
            only: Names of the values that are wanted, where there are such; None wants all. In mixed precision each
                that is given back is made float32.
        """
        overrides = {**self.overrides(), **(overrides or {})}
        values = run_stages(torch, self.stages, self.stage_weights(), inputs, overrides)
        return values if only is None else {name: values[name] for name in only if name in values}

    def stage_weights(self) -> dict[str, dict[str, Tensor]]:
        """Stage name -> short parameter name -> tensor."""
        return {
            name: {**dict(part.named_parameters()), **dict(part.named_buffers())} for name, part in self.parts.items()
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The weights as a model file holds them: ``stage.parameter`` -> array."""
        return {
            f"{stage}.{name}": tensor.detach().cpu().numpy().copy()
            for stage, own in self.stage_weights().items()
            for name, tensor in own.items()
        }

    def load_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of :meth:`arrays`."""
        with torch.no_grad():
            for stage, own in self.stage_weights().items():
                for name, tensor in own.items():
                    tensor.copy_(torch.from_numpy(np.array(arrays[f"{stage}.{name}"])))

    def overrides(self) -> dict[str, Callable[..., Any]]:
        """What torch does faster, or in training alone, by the names of the stages."""
        overrides: dict[str, Callable[..., Any]] = {}
        for stage in self.stages:
            if stage.kind == "recurrent":
                overrides[stage.name] = partial(_recurrent, self.parts[stage.name], takes_lengths(stage.options))
            if stage.kind == "bag":
                overrides[stage.name] = partial(_bag, self.parts[stage.name], stage.options["how"])
            if stage.kind == "embedding":
                overrides[stage.name] = partial(_embedding, self.parts[stage.name], stage.options, self.training)
            if stage.kind == "attention_pool":
                overrides[stage.name] = partial(_attention_pool, self.parts[stage.name])
            if stage.kind == "gather":
                overrides[stage.name] = _gather
            if stage.kind == "linear":
                overrides[stage.name] = partial(_linear, self.parts[stage.name])
            if stage.kind == "tied_linear":
                overrides[stage.name] = partial(
                    nn.functional.linear, bias=self.get_parameter(f"parts.{stage.name}.bias")
                )
            if stage.kind == "dropout":
                overrides[stage.name] = partial(_dropout, stage.options, self.training)
        return overrides


def _part(stage: Stage) -> nn.Module:
    if stage.kind == "recurrent":
        return _layer(stage.options)
    if stage.kind in ("bag", "embedding"):
        return nn.Embedding(stage.options["things" if stage.kind == "bag" else "tokens"], stage.options["features"])
    if stage.kind == "linear":
        return nn.Linear(stage.options["features"], stage.options["units"], bias=stage.options.get("bias", True))
    if stage.kind == "adaptive_softmax":
        return _adaptive_softmax(stage.options)
    part = nn.Module()
    if stage.kind == "attention_pool":
        part = nn.Linear(stage.options["features"], stage.options["units"])
        part.register_parameter("v", nn.Parameter(torch.empty(stage.options["units"]).uniform_(-0.1, 0.1)))
        return part
    for name, shape in stage.parameter_shapes().items():
        if stage.kind in _NOT_TRAINED:
            part.register_buffer(name, torch.zeros(shape))
        else:
            part.register_parameter(name, nn.Parameter(torch.zeros(shape)))
    return part


def _layer(options: Mapping[str, Any]) -> RecurrentLayer:
    return build(
        CellSpec.from_dict(options["cell"]),
        batch_first=True,
        dropout=options.get("dropout", 0.0),
        learn_initial_state=options.get("learn_initial_state", False),
        **{name: options[name] for name in Rates._fields if name in options},
    )


def _bag(table: Any, how: str, numbers: Tensor) -> Tensor:
    """All things of a step in one go, without a tensor of their rows, and without the zeros that are none."""
    if _is_native(table.weight, numbers):
        return look_up(table.weight, numbers, Bag(skips_zero=True, is_mean=how == "mean"))
    steps = numbers.flatten(0, -2)
    there = steps > 0
    counts = there.sum(1)
    starts = counts.cumsum(0) - counts
    rows = nn.functional.embedding_bag(steps[there], table.weight, starts, mode="sum")
    if how == "mean":
        rows = rows / counts.clamp(min=1)[:, None]
    return rows.view(*numbers.shape[:-1], -1)


def _dropout(options: Mapping[str, Any], training: bool, x: Tensor) -> Tensor:
    """With the option ``same_steps`` a feature of (B, T, F) is dropped at all steps of a row or at none."""
    rate = options["rate"]
    if not training or not 0 < rate < 1:
        return nn.functional.dropout(x, rate, training)
    same = options.get("same_steps", False)
    return x * draw_factors((len(x), 1, *x.shape[2:]) if same else x.shape, rate, x)


def _attention_pool(part: Any, x: Tensor, lengths: Tensor) -> Sequence[Tensor]:
    """On the core where it can be: the equations compute with padding, and hold it all for their gradient."""
    weights = part.weight, part.bias, part.v
    if can_attend(x, weights) and _is_seen_by_nobody(x):
        return run_attention_pool(x, lengths, *weights, _attention_equations)
    return _attention_equations(x, lengths, *weights)


def _attention_equations(x: Tensor, lengths: Tensor, weight: Tensor, bias: Tensor, v: Tensor) -> Sequence[Tensor]:
    return attention_pool(torch, {"weight": weight, "bias": bias, "v": v}, (x, lengths), {})


def _linear(part: Any, *inputs: Tensor) -> Tensor:
    """Few products are not worth rounding for under autocast: that takes longer than they do."""
    x = inputs[0] if len(inputs) == 1 else torch.cat(inputs, -1)
    if x.numel() * len(part.weight) > _FEW_PRODUCTS or x.dtype != part.weight.dtype:
        return nn.functional.linear(x, part.weight, part.bias)
    with torch.autocast(x.device.type, enabled=False):
        return nn.functional.linear(x, part.weight, part.bias)


def _gather(rows: Tensor, places: Tensor) -> Tensor:
    """As the stage does it; the gradient of an embedding is added up faster than that of an index."""
    return look_up(rows, places) if _is_native(rows, places) else nn.functional.embedding(places, rows)


def _is_native(table: Tensor, numbers: Tensor) -> bool:
    return can_look_up(table, numbers) and _is_seen_by_nobody(table)


def _is_seen_by_nobody(x: Tensor) -> bool:
    """Neither by a compiler or a tracer nor by a transform, which see through operations of torch alone."""
    return is_plain(x) and not transforming()


def _adaptive_softmax(options: Mapping[str, Any]) -> nn.Module:
    *cutoffs, classes = options["cutoffs"]
    return nn.AdaptiveLogSoftmaxWithLoss(options["features"], classes, cutoffs, div_value=options["shrink"])


def _embedding(part: Any, options: Mapping[str, Any], training: bool, tokens: Tensor) -> Any:
    """With the option ``dropout`` whole tokens are dropped, wherever they stand: Gal & Ghahramani, NIPS 2016."""
    rows = nn.functional.embedding(tokens, part.weight, sparse=True) if part.sparse else _gather(part.weight, tokens)
    if training and (rate := options.get("dropout", 0.0)):
        rows = rows * draw_factors((options["tokens"], 1), rate, rows)[tokens]
    return (rows, part.weight) if is_shared(options) else rows


def _recurrent(layer: Any, uneven: bool, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    """A layer takes by name what the stage has in the last columns of its input, and gives a single state alone."""
    beside: dict[str, Tensor] = {"lengths": rest[0]} if uneven else {}
    state = rest[1:] if uneven else rest
    if name := layer.spec.entry.extra:
        x, beside[name] = x.split([layer.input_size, layer.spec.extra_size], 2)
    output, last = layer(x, state or None, **beside)
    return (output, *last) if isinstance(last, tuple) else (output, last)
