"""The engine ``native``: the C++ core on CPU tensors of float32, float64 or bfloat16.

What the core needs of a tensor is its address and strides, so any layout whose last axis is dense
goes in without a copy. With bfloat16 it adds up, and keeps cell states, in float32.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lstmkit.ops.native_call import Direction, Gradients, NativeCall, Outcome
from lstmkit.ops.native_core import FOLDED, PRECISIONS, cast, core, dense, empty, fold_gates, real_dtype, shown_gates

_NOTHING = (None,) * 8

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


def kept_gates_dtype(x_dtype: torch.dtype, saved_dtype: torch.dtype | None = None) -> torch.dtype | None:
    """What gates are kept in that only ``differentiate_native`` reads; None is the type of ``x``."""
    return FOLDED if torch.bfloat16 in (x_dtype, saved_dtype) and x_dtype != torch.float64 else None


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
    type of ``x``, or of ``gates_dtype``: FOLDED, for ``differentiate_native`` alone, beside float32 or bfloat16.

    Shape:
        - gates: ``(4, T, B, D*H)``, a view of ``(T, B, 4, D*H)``
    """
    kept_dtype = FOLDED if trace and x.dtype == torch.bfloat16 else gates_dtype or x.dtype
    call = _call(x, h, c, weights, lengths, resets, reverse, kept_dtype)
    (T, B, _, H, R), D, real = call.sizes, count_directions(weights), real_dtype(x.dtype)
    y = empty((T, B, D * R), x.dtype)
    h_last, c_last = empty((D, B, R), x.dtype), empty((D, B, H), real)
    cells = empty((T, B, D * H) if trace else (0,), real)
    gates = empty((T, B, 4, D * H) if trace else (0,), kept_dtype)
    call.forward(core.lstm_forward, Outcome(y, h_last, c_last, *((cells, gates) if trace else (None, None))))
    if trace:
        gates = gates.permute(2, 0, 1, 3)
    return y, h_last, cast(c_last, x.dtype), cells, gates if gates_dtype == FOLDED else shown_gates(gates)


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
    weights_dtype: torch.dtype | None = None,
) -> list[Tensor | None]:
    """Gradients with respect to x, h, c and each weight, None where they are not wanted.

    Args:
        upstream: Gradients of the five outputs; None is zero.
        saved: Output, cells and gates of the forward run.
        weights_dtype: What the gradients of the weights are wanted in, if not in the type of ``x``.
    """
    y, cells, gates = map(dense, saved)
    if gates.dtype == torch.bfloat16:  # as they were shown
        gates = dense(fold_gates(gates))
    call = _call(x, h, c, weights, lengths, resets, reverse, gates.dtype)
    (T, B, I, H, R), D, real = call.sizes, count_directions(weights), real_dtype(x.dtype)  # noqa: E741
    kinds = (x.dtype, real, real, real, x.dtype)
    dy, dh_last, dc_last, dcells, dgates = (
        None if grad is None else dense(cast(grad, kind)) for grad, kind in zip(upstream, kinds, strict=True)
    )
    dh, dc = (empty((D, B, size), real) if wants.state else None for size in (R, H))
    dweights = [_Weights.like(own, real) if wants.weights else None for own in _of_directions(weights)]
    dx = call.backward(
        core.lstm_backward,
        Outcome(y, None, None, cells, gates.permute(1, 2, 0, 3)),
        Outcome(dy, dh_last, dc_last, dcells, None if dgates is None else dgates.permute(1, 2, 0, 3)),
        [
            Gradients(empty((T, B, I), x.dtype) if wants.x else None, _NOTHING if own is None else own.written())
            for own in dweights
        ],
        (dh, dc),
    )
    given = [grad for own in dweights for grad in _in_order(own, len(weights) // D)]
    grads = [*((grad, x.dtype) for grad in (dh, dc)), *((grad, weights_dtype or x.dtype) for grad in given)]
    return [dx, *(None if grad is None else cast(grad, dtype) for grad, dtype in grads)]


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

    def written(self) -> Sequence[Tensor | None]:
        """Where the core writes gradients; those of other cells are not here."""
        return self.input, self.recurrent, self.bias, self.projection, None, None, None, None


def _in_order(grads: _Weights | None, count: int) -> list[Tensor | None]:
    """Gradients in torch's order of ``count`` parameters; its two biases have one gradient, but never one tensor."""
    if grads is None:
        return [None] * count
    biases = [grads.bias, grads.bias.clone()] if count > 3 and grads.bias is not None else []
    return [grads.input, grads.recurrent, *biases, *([grads.projection] if count in (3, 5) else [])]


def _of_directions(weights: Sequence[Tensor]) -> list[_Weights]:
    n = len(weights) // count_directions(weights)
    return [_Weights.named(weights[k : k + n]) for k in range(0, len(weights), n)]


def _call(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    reverse: bool,
    gates_dtype: torch.dtype,
) -> NativeCall:
    precision = PRECISIONS[x.dtype]
    if gates_dtype == FOLDED and x.dtype == torch.float32:
        precision += "/bfloat16"
    state = None if h is None else dense(h), None if c is None else dense(cast(c, real_dtype(x.dtype)))
    return NativeCall(
        dense(x),
        state,
        [Direction((*own, None, None)) for own in _of_directions([dense(weight.contiguous()) for weight in weights])],
        lengths,
        resets,
        hidden_size=weights[0].shape[0] // 4,
        output_size=weights[1].shape[1],
        precision=precision,
        reverse=reverse,
    )
