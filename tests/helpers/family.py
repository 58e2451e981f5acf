"""The family of cells as data: every cell and every option is a row, and this is how a row is built and called."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from helpers.hostile import Hostile
from helpers.specs import ALONE_SPECS, NEEDED, OPTIONS
from torch import Tensor

from lstmkit import nn
from lstmkit.spec import CATALOG, CellSpec, Variant

# What acts in training alone: arguments of the layer, options of its cell.
REGULARISERS: dict[str, tuple[dict[str, float], Variant]] = {
    "dropout": ({"dropout": 0.4}, Variant()),
    **{
        name: ({name: 0.4}, Variant())
        for name in ("input_dropout", "state_dropout", "candidate_dropout", "weight_dropout")
    },
    "zoneout-h-drawn": ({}, Variant(zoneout_h=0.4)),
    "zoneout-c-drawn": ({}, Variant(zoneout_c=0.4)),
    "all-drawn": (
        {"dropout": 0.2, "input_dropout": 0.2, "state_dropout": 0.2, "candidate_dropout": 0.2, "weight_dropout": 0.2},
        Variant(zoneout_h=0.2, zoneout_c=0.2),
    ),
}


@dataclass(frozen=True)
class Row:
    """A cell with an option: its smallest stack, which has one direction.

    Args:
        spec: The stack.
        rates: Dropouts of the layer.
        training: Whether masks are drawn; else the layer evaluates.
    """

    spec: CellSpec
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    training: bool = False

    @property
    def deep(self) -> CellSpec:
        """Two layers at least, where the option allows it, and both directions."""
        layers = 1 if self.spec.padding == "valid" else max(2, self.spec.num_layers)
        return replace(self.spec, num_layers=layers, bidirectional=True)

    @property
    def wide(self) -> CellSpec:
        """Both directions, with sizes that fill no register: more than one of 16 numbers, and a rest."""
        sizes = (20, 19, 18) if self.spec.layer_sizes else ()
        return replace(self.spec, input_size=5, hidden_size=18, layer_sizes=sizes, bidirectional=True)

    def build(self, case: Hostile, engine: str | None = None, **options: Any) -> Any:
        """The layer of a case of this row, with the case's numbers."""
        layer = nn.build(case.spec, dtype=case.clean.dtype, engine=engine, **self.rates, **options)
        layer.load_state_dict(case.parameters)
        return layer.train(self.training)


def rows() -> Iterator[tuple[str, Row]]:
    """Every cell that runs over sequences, each of its options, and each regulariser, by name."""
    yield "lstm", Row(CellSpec(3, 4))
    yield "lstm projection", Row(CellSpec(3, 4, proj_size=2))
    for name, spec in ALONE_SPECS.items():
        yield f"lstm {name}", Row(spec)
    for name, (rates, variant) in REGULARISERS.items():
        yield f"lstm {name}", Row(CellSpec(3, 4, 2, variant=variant), rates, training=True)
    for cell, entry in CATALOG.items():
        if cell == "lstm" or entry.driver == "tree":
            continue
        for name, options in {"": {}, **OPTIONS.get(cell, {})}.items():
            yield f"{cell} {name}".strip(), Row(CellSpec(3, 6, cell=cell, **NEEDED.get(cell, {}), **options))


ROWS = dict(rows())


def one(states: tuple[Tensor, ...]) -> Any:
    """States as a layer takes them: a tuple, or the one there is."""
    return states if len(states) > 1 else states[0]


def many(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def beside(case: Hostile, at: Any = slice(None)) -> dict[str, Tensor]:
    """What the layer reads beside its input, by its argument's name; ``at`` picks steps and rows."""
    name = case.spec.entry.extra
    if name is None or case.extra is None:
        return {}
    value = case.extra[at]
    return {name: value[0] if name == "static" else value.squeeze(-1)}


def flat(result: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Output, states, and cells and gates where they came back."""
    output, state, *trace = result
    cells = [value for found in trace for value in found.cells or ()]
    gates = [value for found in trace for own in found.gates or () for value in own.values()]
    return output, *many(state), *cells, *gates


def run(call: Any, case: Hostile, x: Tensor, hx: Any = None, at: Any = slice(None), **options: Any) -> Any:
    """Output and states, flat; what a layer draws, it draws alike in every call."""
    torch.manual_seed(7)
    return flat(call(x, None if hx is None else one(tuple(hx)), **beside(case, at), **options))


def leaves(x: Tensor, hx: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    return x.detach().clone().requires_grad_(), tuple(value.detach().clone().requires_grad_() for value in hx)


def gradients(outputs: tuple[Tensor, ...], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a sum in which every number has a weight of its own."""
    generator = torch.Generator().manual_seed(1)
    draws = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype) for y in outputs]
    total: Any = sum((y * w).sum() for y, w in zip(outputs, draws, strict=True))
    return torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)
