"""Checkpoints over time: a long layer in chunks of steps, of which only the states between them are kept.

Forward runs chunk after chunk without a trace. Backward takes the chunks in the opposite order: it runs each again
from the state that was kept, now with a trace, and differentiates it. There is never more than one chunk's trace.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.ops.engines import Layer, differentiate_engine, run_engine
from lstmkit.ops.native import Outputs, Wants, kept_gates_dtype


class _Direction(NamedTuple):
    layer: Layer  # of this direction alone
    reverse: bool
    steps: int  # of a chunk

    def chunks(self) -> list[tuple[int, int]]:
        """First and last step (exclusive) of each chunk, in the order in which they are run."""
        T = self.layer.x.shape[0]
        borders = [(first, min(first + self.steps, T)) for first in range(0, T, self.steps)]
        return borders[::-1] if self.reverse else borders

    def cut(self, first: int, last: int, h: Tensor, c: Tensor) -> Layer:
        """The chunk as a layer of its own, entered with the states that the chunk run before it left."""
        x, _, _, weights, lengths, resets = self.layer
        return Layer(
            x[first:last],
            self.wall(last, h),
            self.wall(last, c),
            weights,
            None if lengths is None else (lengths - first).clamp(0, last - first),
            None if resets is None else resets[first:last],
        )

    def wall(self, last: int, state: Tensor) -> Tensor:
        """Zero where a reset lies between this chunk and the later one, whence the second direction comes."""
        _, _, _, _, lengths, resets = self.layer
        if resets is None or not self.reverse or last == resets.shape[0]:
            return state
        stops = resets[last] if lengths is None else resets[last] & (lengths > last)
        return torch.where(stops[:, None], 0.0, state)


def run_chunks(engine: str, layer: Layer, steps: int) -> Outputs:
    """Output and last states of a layer, and the states c and h that entered each chunk.

    Shape:
        - kept states: ``(N, D, B, H)`` and ``(N, D, B, R)`` for ``N`` chunks
    """
    y, h, c, kept_c, kept_h = zip(*(_run(engine, direction) for direction in _directions(layer, steps)), strict=True)
    return _join(y, 2), _join(h, 0), _join(c, 0), _join(kept_c, 1), _join(kept_h, 1)


def differentiate_chunks(
    engine: str,
    upstream: Sequence[Tensor | None],
    layer: Layer,
    kept: Sequence[Tensor],
    steps: int,
    wants: Wants,
) -> list[Tensor | None]:
    """Gradients with respect to x, h, c and each weight; those that are not wanted may be None."""
    D = layer.h.shape[0]
    given = zip(*(_split(grad, D, axis) for grad, axis in zip(upstream[:3], (2, 0, 0), strict=True)), strict=True)
    states = zip(*(_split(value, D, 1) for value in kept), strict=True)
    found = [
        # The state's gradient goes from chunk to chunk.
        _differentiate(engine, direction, each, entered, wants._replace(state=True))
        for direction, each, entered in zip(_directions(layer, steps), given, states, strict=True)
    ]
    dx, dh, dc, *dweights = zip(*found, strict=True)
    every = [grad for direction in zip(*dweights, strict=True) for grad in direction]
    return [reduce(Tensor.add_, dx) if wants.x else None, _join(dh, 0), _join(dc, 0), *every]


def count_chunks(time: int, steps: int) -> int:
    """How many chunks a sequence has."""
    return (time + steps - 1) // steps


def _run(engine: str, direction: _Direction) -> Outputs:
    layer, reverse, _ = direction
    y = layer.x.new_empty(*layer.x.shape[:2], layer.h.shape[2])
    h, c = layer.h, layer.c
    kept: list[tuple[Tensor, Tensor]] = []
    for first, last in direction.chunks():
        kept.append((c, h))
        chunk = direction.cut(first, last, h, c)
        y[first:last], h, c, _, _ = run_engine(engine, chunk, trace=False, reverse=reverse)
    kept_c, kept_h = map(torch.stack, zip(*kept, strict=True))
    return y, h, c, kept_c, kept_h


def _differentiate(
    engine: str,
    direction: _Direction,
    upstream: Sequence[Tensor | None],
    kept: Sequence[Tensor],
    wants: Wants,
) -> list[Tensor | None]:
    layer, reverse, _ = direction
    dy, dh, dc = upstream
    gates_dtype = kept_gates_dtype(layer.x.dtype)
    dx = layer.x.new_empty(layer.x.shape) if wants.x else None
    sums: list[Tensor | None] = [None] * len(layer.weights)
    for (first, last), c, h in reversed([*zip(direction.chunks(), *kept, strict=True)]):
        chunk = direction.cut(first, last, h, c)
        y, _, _, *trace = run_engine(engine, chunk, trace=True, reverse=reverse, gates_dtype=gates_dtype)
        given = [None if dy is None else dy[first:last], dh, dc, None, None]
        found: list[Any] = differentiate_engine(engine, given, chunk, [y, *trace], wants=wants, reverse=reverse)
        part, dh, dc, *grads = found
        dh, dc = direction.wall(last, dh), direction.wall(last, dc)
        if dx is not None:
            dx[first:last] = part
        sums = [grad if total is None else total.add_(grad) for total, grad in zip(sums, grads, strict=True)]
    return [dx, dh, dc, *sums]


def _directions(layer: Layer, steps: int) -> list[_Direction]:
    x, h, c, weights, lengths, resets = layer
    D = h.shape[0]
    n = len(weights) // D
    return [
        _Direction(Layer(x, h[d : d + 1], c[d : d + 1], weights[d * n : (d + 1) * n], lengths, resets), d == 1, steps)
        for d in range(D)
    ]


def _split(value: Tensor | None, count: int, axis: int) -> Sequence[Tensor | None]:
    return [None] * count if value is None else value.chunk(count, axis)


def _join(values: Sequence[Tensor], axis: int) -> Tensor:
    return values[0] if len(values) == 1 else torch.cat([*values], axis)
