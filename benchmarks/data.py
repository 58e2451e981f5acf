"""The numbers of a case, the same in every process, and what must come out: the reference in float64."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases import Case
from lstmkit.reference import (
    CELLS,
    LayerResult,
    Saved,
    Steps,
    Upstream,
    Weights,
    layer_weights,
    mark_steps,
    name_gates,
    run_direction_backward,
    run_layer,
)
from lstmkit.spec import CellSpec

Array = np.ndarray[Any, Any]
Values = dict[str, Array]


@dataclass(frozen=True)
class Data:
    """What goes in: ``x (T, B, I)``, the gradient of the output, parameters by torch's names.

    All are float32, rounded to what the case's dtype can hold. ``beside`` is what the cell reads at each step beside
    ``x``, ``(T, B)``, by its argument's name.
    """

    spec: CellSpec
    x: Array
    grad_output: Array
    lengths: Array | None
    parameters: Values
    beside: Values

    @property
    def steps(self) -> int:
        """Real steps of all rows together."""
        return self.x.shape[0] * self.x.shape[1] if self.lengths is None else int(self.lengths.sum())


def make_data(case: Case) -> Data:
    """Draw a case's numbers; every process draws the same."""
    T, B, I, H = case.sizes  # noqa: E741
    random = np.random.default_rng(0)
    stack = {"input_size": I, "hidden_size": H, "bidirectional": case.bidirectional, "proj_size": case.projection}
    spec = CellSpec.from_dict(stack | case.cell)

    def draw(*shape: int, scale: float = 1.0) -> Array:
        values = scale * random.standard_normal(shape, np.float32)
        return round_bfloat16(values) if case.dtype == "bfloat16" else values

    scale = 0.5 * H**-0.5
    return Data(
        spec=spec,
        x=draw(T, B, I),
        grad_output=draw(T, B, case.output_size),
        lengths=np.linspace(0.1 * T, T, B).astype(np.int64).clip(1, T) if case.uneven else None,
        parameters={
            name: draw(*shape, scale=scale) + name.startswith("gain") for name, shape in spec.parameter_shapes().items()
        },
        beside=_draw_beside(spec, random, (T, B)),
    )


def _draw_beside(spec: CellSpec, random: np.random.Generator, shape: tuple[int, int]) -> Values:
    intervals = random.uniform(0.1, 2.1, shape).astype(np.float32)
    kinds = {"intervals": intervals, "times": intervals.cumsum(0) / shape[0]}
    return {name: value for name, value in kinds.items() if name == spec.entry.extra}


def round_bfloat16(values: Array) -> Array:
    """The nearest bfloat16 of each float32, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def expected_values(case: Case, data: Data) -> Values:
    """Output, cells and gates, and the gradients of x and of every parameter if the case trains."""
    if case.cell or case.rates:
        return _expected_of_layer(case, data)
    x = data.x.astype(np.float64)
    parameters = {name: value.astype(np.float64) for name, value in data.parameters.items()}
    weights = [layer_weights(data.spec, parameters, suffix) for suffix in data.spec.layer_suffixes(0)]
    D, B = len(weights), x.shape[1]
    h, c = np.zeros((D, B, data.spec.state_size)), np.zeros((D, B, data.spec.hidden_size))
    steps = mark_steps(np, x, data.lengths, None)
    train = case.task == "train"
    result = run_layer(np, CELLS["lstm"], weights, x, (h, c), steps, cells=train, gates=train)
    values = {"output": result.output}
    if case.trace:
        values |= {"cells": result.cells, **name_traced(data.spec, result.gates)}
    return values | _gradients(data, x, weights, result, steps) if train else values


def draws_masks(case: Case, spec: CellSpec) -> bool:
    """Whether training draws something, which every engine must draw alike."""
    return bool(case.rates or spec.variant.zoneout_h or spec.variant.zoneout_c)


def _expected_of_layer(case: Case, data: Data) -> Values:
    """The same of any cell, by autograd through the equations; where masks are drawn, in the type they are drawn in."""
    import torch

    from lstmkit import nn

    dtype = torch.float32 if draws_masks(case, data.spec) else torch.float64
    layer = nn.build(data.spec, data.parameters, dtype=dtype, engine="reference", **case.rates)
    x = torch.from_numpy(data.x).to(dtype).requires_grad_()
    torch.manual_seed(0)
    output = layer(x, **{name: torch.from_numpy(value).to(dtype) for name, value in data.beside.items()})[0]
    wanted = {"x": x, **dict(layer.named_parameters())}
    found = torch.autograd.grad(output, [*wanted.values()], torch.from_numpy(data.grad_output).to(dtype))
    return {"output": output.detach().numpy(), **{k: v.numpy() for k, v in zip(wanted, found, strict=True)}}


def _gradients(data: Data, x: Array, weights: list[Weights], result: LayerResult, steps: Steps) -> Values:
    D = len(weights)
    outputs, cells, gates = (np.split(part, D, -1) for part in (result.output, result.cells, result.gates))
    upstream = np.split(data.grad_output.astype(np.float64), D, -1)
    values: Values = {"x": np.zeros_like(x)}
    for d, (w, suffix) in enumerate(zip(weights, data.spec.layer_suffixes(0), strict=True)):
        saved = Saved(x, np.zeros_like(outputs[d][0]), np.zeros_like(cells[d][0]), outputs[d], cells[d], gates[d])
        wanted = Upstream(upstream[d], None, None, None, None)
        found = run_direction_backward(np, w, saved, wanted, steps, backwards=d == 1)
        values["x"] += found.x
        of = found.weights
        named = {"weight_ih": of.input, "weight_hh": of.recurrent, "bias_ih": of.bias, "bias_hh": of.bias}
        values |= {name + suffix: value for name, value in named.items()}
        if of.projection is not None:
            values["weight_hr" + suffix] = of.projection
    return values


def name_traced(spec: CellSpec, gates: Array) -> Values:
    """The gates ``(4, T, B, D*H)`` by name."""
    return {f"gate {letter}": value for letter, value in name_gates(spec, gates).items()}


def relative_error(actual: Array, expected: Array) -> float:
    """Largest difference relative to the largest number; infinite where shapes differ or a number is not finite."""
    if actual.shape != expected.shape:
        return float("inf")
    largest, scale = float(np.abs(actual.astype(np.float64) - expected).max()), float(np.abs(expected).max())
    # The recurrent weights of a single step from no state have no gradient.
    error = largest / scale if scale else (float("inf") if largest else 0.0)
    return error if np.isfinite(error) else float("inf")
