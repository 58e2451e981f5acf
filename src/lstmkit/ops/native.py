"""The engine ``native``: the C++ core on CPU tensors of float32.

What the core needs of a tensor is its address and strides, so any layout whose last axis is dense
goes in without a copy.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from lstmkit.core import native_module, native_status

# Above this many floats, memory comes from the core's pool: a fresh page costs more than the arithmetic on it.
_POOLED = 1 << 16
_BYTES = 4

# Name of the instruction set to run with; empty means the best, or LSTMKIT_ISA.
instruction_set = ""

Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


# Asked once: torch.compile traces the choice of an engine and could not look for a module.
_available = native_status().available


def native_available() -> bool:
    """Whether the C++ core was built and runs here."""
    return _available


def run_native(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    *,
    trace: bool,
    reverse: bool = False,
) -> Outputs:
    """All directions of one layer, or with ``reverse`` the second one alone; the outputs of ``lstm_layer``.

    Shape:
        - gates: ``(4, T, B, D*H)``, a view of ``(T, B, 4, D*H)``
    """
    (T, B, _), (D, _, H) = x.shape, c.shape
    layer = _Layer(x, h, c, weights, lengths, resets, reverse)
    y = _empty(T, B, D * H)
    h_last, c_last = torch.empty(D, B, H), torch.empty(D, B, H)
    cells = _empty(T, B, D * H) if trace else torch.empty(0)
    gates = _empty(T, B, 4, D * H).permute(2, 0, 1, 3) if trace else torch.empty(0)
    for d in range(D):
        layer.core.lstm_forward(
            layer.direction(d),
            _sequence(y, d * H),
            _state(h_last, d),
            _state(c_last, d),
            _trace(cells, gates, d * H) if trace else _NO_TRACE,
            torch.get_num_threads(),
            instruction_set,
        )
    return y, h_last, c_last, cells, gates


def differentiate_native(
    upstream: Sequence[Tensor | None],
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    saved: Sequence[Tensor],
    *,
    wants_x: bool = True,
    wants_weights: bool = True,
    reverse: bool = False,
) -> list[Tensor | None]:
    """Gradients with respect to x, h, c and each weight, None where they are not wanted.

    Args:
        upstream: Gradients of the five outputs; None is zero.
        saved: Output, cells and gates of the forward run.
    """
    (D, _, H), n = c.shape, len(weights) // c.shape[0]
    layer = _Layer(x, h, c, weights, lengths, resets, reverse)
    y, cells, gates = map(_dense, saved)
    dy, dh_last, dc_last, dcells, dgates = (None if grad is None else _dense(grad) for grad in upstream)
    dh, dc = torch.empty(c.shape), torch.empty(c.shape)
    dx: Tensor | None = None
    dweights: list[Tensor | None] = []
    for d in range(D):
        part = _empty(*x.shape) if wants_x else None
        grads = [torch.empty(w.shape) for w in weights[d * n : (d + 1) * n][:3]] if wants_weights else []
        bias = grads[2] if len(grads) > 2 else torch.empty(4 * H)
        layer.core.lstm_backward(
            layer.direction(d),
            _sequence(y, d * H),
            _trace(cells, gates, d * H),
            None if dy is None else _sequence(dy, d * H),
            None if dh_last is None else _state(dh_last, d),
            None if dc_last is None else _state(dc_last, d),
            _trace(dcells, dgates, d * H),
            None if part is None else _sequence(part, 0),
            _state(dh, d),
            _state(dc, d),
            (grads[0].data_ptr(), grads[1].data_ptr(), bias.data_ptr()) if wants_weights else (0, 0, 0),
            torch.get_num_threads(),
            instruction_set,
        )
        dx = part if dx is None or part is None else dx.add_(part)
        # torch's two biases have one gradient, but never one tensor.
        dweights += [*grads, *([bias.clone()] if n == 4 else [])] if wants_weights else [None] * n
    return [dx, dh, dc, *dweights]


class _Layer:
    """A layer's arguments as the core takes them; keeps alive what the addresses point to."""

    def __init__(
        self,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        weights: Sequence[Tensor],
        lengths: Tensor | None,
        resets: Tensor | None,
        reverse: bool,
    ) -> None:
        self.core: Any = native_module()
        self._reverse = reverse
        self._x, self._h, self._c = _dense(x), _dense(h), _dense(c)
        self._weights = [w.resolve_neg().contiguous() for w in weights]
        self._lengths = None if lengths is None else lengths.to("cpu", torch.int64).contiguous()
        self._resets = None if resets is None else resets.contiguous()

    def direction(self, d: int) -> tuple[Any, ...]:
        D, B, H = self._c.shape
        n = len(self._weights) // D
        weights = [w.data_ptr() for w in self._weights[d * n : (d + 1) * n]]
        return (
            (self._x.shape[0], B, self._x.shape[2], H),
            _sequence(self._x, 0),
            _state(self._h, d),
            _state(self._c, d),
            (*weights, 0, 0)[:4],
            0 if self._lengths is None else self._lengths.data_ptr(),
            0 if self._resets is None else self._resets.data_ptr(),
            self._reverse or d == 1,
        )


_NO_TRACE = (None, None, 0)


def _dense(value: Tensor) -> Tensor:
    """The core reads along the last axis in steps of one, and knows nothing of torch's lazy minus sign."""
    value = value.resolve_neg()
    return value if value.stride(-1) == 1 or value.shape[-1] == 1 else value.contiguous()


def _sequence(value: Tensor, first: int) -> tuple[int, int, int]:
    """Address and strides of ``(T, B, N)`` from its column ``first`` on."""
    return value.data_ptr() + first * _BYTES, value.stride(0), value.stride(1)


def _state(value: Tensor, d: int) -> tuple[int, int]:
    """Address and stride of direction ``d`` of ``(D, B, H)``."""
    return value.data_ptr() + d * value.stride(0) * _BYTES, value.stride(1)


def _trace(cells: Tensor | None, gates: Tensor | None, first: int) -> tuple[Any, Any, int]:
    """Cells ``(T, B, D*H)`` and gates ``(4, T, B, D*H)`` from their column ``first`` on."""
    at_cells = None if cells is None else _sequence(cells, first)
    if gates is None:
        return at_cells, None, 0
    return at_cells, (gates.data_ptr() + first * _BYTES, gates.stride(1), gates.stride(2)), gates.stride(0)


def _empty(*shape: int) -> Tensor:
    count = prod(shape)
    if count < _POOLED:
        return torch.empty(shape)
    core: Any = native_module()
    return torch.from_dlpack(core.empty(count)).view(shape)
