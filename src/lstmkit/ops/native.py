"""The engine ``native``: the C++ core on CPU tensors of float32, float64 or bfloat16.

What the core needs of a tensor is its address and strides, so any layout whose last axis is dense
goes in without a copy. With bfloat16 it adds up, and keeps cell states, in float32.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.ops.native_core import PRECISIONS, cast, core, dense, empty, real_dtype, run_core, sequence_at, state_at

Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Wants(NamedTuple):
    """Which gradients of a layer are wanted."""

    x: bool = True
    state: bool = True
    weights: bool = True

    def each(self, count: int) -> list[bool]:
        """For x, h, c and each of ``count`` weights."""
        return [self.x, self.state, self.state, *[self.weights] * count]


def count_directions(weights: Sequence[Tensor]) -> int:
    """Both directions without biases have as many weights as one with them, but no vector among them."""
    return 2 if len(weights) > 5 or (len(weights) == 4 and weights[2].dim() == 2) else 1


def run_native(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    *,
    trace: bool,
    reverse: bool = False,
    gates_dtype: torch.dtype | None = None,
) -> Outputs:
    """All directions of one layer, or with ``reverse`` the second one alone; the outputs of ``lstm_layer``.

    States of None are zeros. The cells come as the backward pass needs them: in ``real_dtype``. The gates are of the
    type of ``x``, or of ``gates_dtype``: bfloat16 beside float32.

    Shape:
        - gates: ``(4, T, B, D*H)``, a view of ``(T, B, 4, D*H)``
    """
    layer = _Layer(x, h, c, weights, lengths, resets, reverse, gates_dtype or x.dtype)
    (T, B, _, H, R), D, real = layer.sizes, layer.directions, real_dtype(x.dtype)
    y = empty((T, B, D * R), x.dtype)
    h_last, c_last = empty((D, B, R), x.dtype), empty((D, B, H), real)
    cells = empty((T, B, D * H) if trace else (0,), real)
    gates = empty((T, B, 4, D * H) if trace else (0,), gates_dtype or x.dtype)
    if trace:
        gates = gates.permute(2, 0, 1, 3)
    layer.run(
        core.lstm_forward,
        [
            (
                layer.direction(d),
                sequence_at(y, d * R),
                state_at(h_last, d),
                state_at(c_last, d),
                _trace(cells, gates, d * H) if trace else _NO_TRACE,
            )
            for d in range(D)
        ],
    )
    return y, h_last, cast(c_last, x.dtype), cells, gates


def differentiate_native(
    upstream: Sequence[Tensor | None],
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    saved: Sequence[Tensor],
    *,
    wants: Wants,
    reverse: bool = False,
) -> list[Tensor | None]:
    """Gradients with respect to x, h, c and each weight, None where they are not wanted.

    Args:
        upstream: Gradients of the five outputs; None is zero.
        saved: Output, cells and gates of the forward run.
    """
    y, cells, gates = map(dense, saved)
    layer = _Layer(x, h, c, weights, lengths, resets, reverse, gates.dtype)
    (T, B, I, H, R), D, real = layer.sizes, layer.directions, real_dtype(x.dtype)  # noqa: E741
    kinds = (x.dtype, real, real, real, gates.dtype)
    dy, dh_last, dc_last, dcells, dgates = (
        None if grad is None else dense(cast(grad, kind)) for grad, kind in zip(upstream, kinds, strict=True)
    )
    dh, dc = (empty((D, B, size), real) if wants.state else None for size in (R, H))
    dx = [empty((T, B, I), x.dtype) if wants.x else None for _ in range(D)]
    dweights = [_Weights.like(layer.weights(d), real) if wants.weights else None for d in range(D)]
    layer.run(
        core.lstm_backward,
        [
            (
                layer.direction(d),
                sequence_at(y, d * R),
                _trace(cells, gates, d * H),
                (sequence_at(dy, d * R), state_at(dh_last, d), state_at(dc_last, d), _trace(dcells, dgates, d * H)),
                (
                    sequence_at(dx[d], 0),
                    state_at(dh, d),
                    state_at(dc, d),
                    (0,) * 6 if (grads := dweights[d]) is None else grads.addresses(),
                ),
            )
            for d in range(D)
        ],
    )
    both = [part for part in dx if part is not None]
    joined = both[0].add_(both[1]) if len(both) == 2 else dx[0]
    given = [grad for d in range(D) for grad in _in_order(dweights[d], len(weights) // D)]
    return [joined, *(None if grad is None else cast(grad, x.dtype) for grad in (dh, dc, *given))]


class _Weights(NamedTuple):
    """Parameters of one direction, or their gradients, of which both biases have one."""

    input: Tensor
    recurrent: Tensor
    bias: Tensor | None
    bias_recurrent: Tensor | None
    projection: Tensor | None

    @classmethod
    def named(cls, w: Sequence[Tensor]) -> "_Weights":
        """From torch's order."""
        biases = (w[2], w[3]) if len(w) > 3 else (None, None)
        return cls(w[0], w[1], *biases, w[-1] if len(w) in (3, 5) else None)

    @classmethod
    def like(cls, w: "_Weights", dtype: torch.dtype) -> "_Weights":
        """Empty gradients of ``w``."""
        projection = None if w.projection is None else empty(w.projection.shape, dtype)
        bias = empty(w.input.shape[:1], dtype)
        return cls(empty(w.input.shape, dtype), empty(w.recurrent.shape, dtype), bias, None, projection)

    def addresses(self) -> tuple[int, ...]:
        """Where the core writes gradients; those of a cell's options are not here."""
        values = (self.input, self.recurrent, self.bias, self.projection)
        return (*(0 if value is None else value.data_ptr() for value in values), 0, 0)


def _in_order(grads: _Weights | None, count: int) -> list[Tensor | None]:
    """Gradients in torch's order of ``count`` parameters; its two biases have one gradient, but never one tensor."""
    if grads is None:
        return [None] * count
    biases = [grads.bias, grads.bias.clone()] if count > 3 and grads.bias is not None else []
    return [grads.input, grads.recurrent, *biases, *([grads.projection] if count in (3, 5) else [])]


class _Layer:
    """A layer's arguments as the core takes them; keeps alive what the addresses point to."""

    def __init__(
        self,
        x: Tensor,
        h: Tensor | None,
        c: Tensor | None,
        weights: Sequence[Tensor],
        lengths: Tensor | None,
        resets: Tensor | None,
        reverse: bool,
        gates_dtype: torch.dtype,
    ) -> None:
        self._reverse = reverse
        self._precision = PRECISIONS[x.dtype]
        if gates_dtype != x.dtype:
            self._precision += f"/{PRECISIONS[gates_dtype]}"
        self._x = dense(x)
        self._h = None if h is None else dense(h)
        self._c = None if c is None else dense(cast(c, real_dtype(x.dtype)))
        self._weights = [dense(w.contiguous()) for w in weights]
        self._lengths = None if lengths is None else lengths.to("cpu", torch.int64).contiguous()
        self._resets = None if resets is None else resets.contiguous()
        self.directions = count_directions(weights)
        self.sizes = (*x.shape, weights[0].shape[0] // 4, weights[1].shape[1])  # T, B, I, H and R

    def run(self, function: Any, directions: list[Any]) -> None:
        """Call the core for all directions at once."""
        run_core(function, directions, self._precision)

    def weights(self, d: int) -> _Weights:
        """The parameters of one direction."""
        n = len(self._weights) // self.directions
        return _Weights.named(self._weights[d * n : (d + 1) * n])

    def direction(self, d: int) -> tuple[Any, ...]:
        """One direction's sizes, addresses and strides."""
        return (
            self.sizes,
            sequence_at(self._x, 0),
            state_at(self._h, d),
            state_at(self._c, d),
            tuple(0 if weight is None else weight.data_ptr() for weight in self.weights(d)),
            0 if self._lengths is None else self._lengths.data_ptr(),
            0 if self._resets is None else self._resets.data_ptr(),
            self._reverse or d == 1,
            None,  # options
            (None,) * 4,  # masks
        )


_NO_TRACE = (None, None, 0, 0)


def _trace(cells: Tensor | None, gates: Tensor | None, first: int) -> tuple[Any, Any, int, int]:
    """Cells ``(T, B, D*H)`` and gates ``(4, T, B, D*H)`` from their column ``first`` on."""
    if gates is None:
        return sequence_at(cells, first), None, 0, 0
    gate, step, row, _ = gates.stride()
    return sequence_at(cells, first), (gates.data_ptr() + first * gates.element_size(), step, row), gate, 0
