"""Data that leaves a wrong LSTM nowhere to hide.

Random states and biases, uneven lengths, odd sizes, NaN in the padding, nothing contiguous: see
the mutation guard in contract/test_mutants.py for what kinder data lets through.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstmkit.spec import CellSpec

# How far two ways to the same number may lie apart, relative to numbers of about 1.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 5e-6, torch.bfloat16: 3e-2}

# Axes of space, as many as a kernel has.
SPACE = (4, 3, 2)


@dataclass(frozen=True)
class Hostile:
    """A stack, its parameters and one batch; ``clean`` is ``x`` with zeros for NaN in the padding."""

    spec: CellSpec
    parameters: dict[str, Tensor]
    x: Tensor
    clean: Tensor
    hx: Any
    lengths: Tensor
    resets: Tensor
    extra: Tensor | None = None


def hostile(
    spec: CellSpec, *, steps: int = 5, batch: int = 3, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Hostile:
    """Draw a hostile case; the first row is as long as the batch, the others are shorter where they can be."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    def draw_state(name: str, *shape: int) -> Tensor:
        """A normaliser is never negative."""
        value = draw(*shape).transpose(0, 1)
        return value.abs() + 0.5 if name == "n" else value

    lengths = torch.randint(1, max(steps, 2), (batch,), generator=generator)
    lengths[0] = steps
    space = SPACE[: len(spec.kernel_size)]
    padding = (torch.arange(steps)[:, None] >= lengths).reshape(steps, batch, *[1] * (1 + len(space)))
    clean = draw(batch, spec.input_size, *space, steps).movedim(-1, 0) * ~padding
    return Hostile(
        spec=spec,
        parameters={name: 0.7 * draw(*shape) for name, shape in spec.parameter_shapes().items()},
        x=clean.masked_fill(padding, float("nan")),
        clean=clean,
        hx=tuple(draw_state(name, batch, spec.state_rows, *shape) for name, shape in spec.state_shapes(space).items()),
        lengths=lengths,
        resets=torch.rand(steps, batch, generator=generator) < 0.35,
        extra=draw_extra(spec, steps, batch, generator, dtype),
    )


def draw_extra(spec: CellSpec, steps: int, batch: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor | None:
    """Times that grow unevenly, intervals that are positive, or features that stay."""
    kind = spec.entry.extra
    if kind is None:
        return None
    if kind == "static":
        return (
            torch.randn(batch, spec.extra_size, generator=generator, dtype=torch.float64)
            .to(dtype)
            .expand(steps, -1, -1)
        )
    intervals = 0.1 + 2 * torch.rand(steps, batch, 1, generator=generator, dtype=torch.float64)
    return (intervals if kind == "intervals" else intervals.cumsum(0)).to(dtype)


def widened(case: Hostile) -> Hostile:
    """The same numbers in float64."""
    return replace(
        case,
        parameters={name: value.double() for name, value in case.parameters.items()},
        x=case.x.double(),
        clean=case.clean.double(),
        hx=tuple(value.double() for value in case.hx),
        extra=None if case.extra is None else case.extra.double(),
    )


def torch_layer(case: Hostile) -> torch.nn.LSTM:
    """The oracle: torch.nn.LSTM with the case's parameters."""
    spec = case.spec
    layer = torch.nn.LSTM(
        spec.input_size,
        spec.hidden_size,
        spec.num_layers,
        bias=spec.bias,
        bidirectional=spec.bidirectional,
        proj_size=spec.proj_size,
        dtype=case.clean.dtype,
    )
    layer.load_state_dict(case.parameters)
    return layer


def run_oracle(layer: torch.nn.LSTM, case: Hostile, x: Tensor, hx: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The oracle over uneven lengths, by way of packing."""
    packed = pack_padded_sequence(x, case.lengths, enforce_sorted=False)
    output, (h, c) = layer(packed, hx)
    return pad_packed_sequence(output, total_length=x.shape[0])[0], h, c


def close(actual: Tensor, expected: Tensor, message: str = "") -> None:
    """Assert equality within the tolerance of the dtype, NaN never being equal."""
    tolerance = TOLERANCES[expected.dtype]
    scale = max(1.0, float(expected.detach().abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(
        actual, expected, rtol=0.0, atol=tolerance * scale, msg=lambda text: f"{message}: {text}" if message else text
    )


def distance(found: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """The largest difference, relative to numbers of about 1 or the largest of each result; NaN where there is one."""
    every = [
        (a.detach().double() - b.detach()).abs().max() / b.detach().abs().max().clamp(min=1)
        for a, b in zip(found, right, strict=True)
        if b.numel()
    ]
    return float(torch.stack(every).max())
