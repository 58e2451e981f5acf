"""The engine ``native``: the C++ core on CPU tensors of float32, float64 or bfloat16.

What the core needs of a tensor is its address and strides, so any layout whose last axis is dense
goes in without a copy. With bfloat16 it adds up, and keeps cell states, in float32.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from lstmkit.core import native_module, native_status

# Above this many numbers, memory comes from the core's pool: a fresh page costs more than the arithmetic on it.
_POOLED = 1 << 16

# The core's names for types of numbers.
_PRECISIONS = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}

# Name of the instruction set to run with; empty means the best, or LSTMKIT_ISA.
instruction_set = ""

Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


# Asked once: torch.compile traces the choice of an engine and could not look for a module.
_available = native_status().available


def native_available() -> bool:
    """Whether the C++ core was built and runs here."""
    return _available


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """What the core adds up in, and keeps cell states in, for numbers of ``dtype``."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


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
    gates_dtype: torch.dtype | None = None,
) -> Outputs:
    """All directions of one layer, or with ``reverse`` the second one alone; the outputs of ``lstm_layer``.

    The cells come as the backward pass needs them: in ``real_dtype``. The gates are of the type of ``x``, or of
    ``gates_dtype``: bfloat16 beside float32.

    Shape:
        - gates: ``(4, T, B, D*H)``, a view of ``(T, B, 4, D*H)``
    """
    (T, B, _), (D, _, R), H, real = x.shape, h.shape, c.shape[2], real_dtype(x.dtype)
    gates_dtype = gates_dtype or x.dtype
    layer = _Layer(x, h, c, weights, lengths, resets, reverse, gates_dtype)
    y = _empty(T, B, D * R, dtype=x.dtype)
    h_last, c_last = x.new_empty(D, B, R), x.new_empty(D, B, H, dtype=real)
    cells = _empty(T, B, D * H, dtype=real) if trace else x.new_empty(0)
    gates = _empty(T, B, 4, D * H, dtype=gates_dtype).permute(2, 0, 1, 3) if trace else x.new_empty(0)
    layer.run(
        "lstm_forward",
        [
            (
                layer.direction(d),
                _sequence(y, d * R),
                _state(h_last, d),
                _state(c_last, d),
                _trace(cells, gates, d * H) if trace else _NO_TRACE,
            )
            for d in range(D)
        ],
    )
    return y, h_last, c_last.to(x.dtype), cells, gates


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
    (D, _, R), H, real = h.shape, c.shape[2], real_dtype(x.dtype)
    y, cells, gates = map(_dense, saved)
    layer = _Layer(x, h, c, weights, lengths, resets, reverse, gates.dtype)
    kinds = (x.dtype, real, real, real, gates.dtype)
    dy, dh_last, dc_last, dcells, dgates = (
        None if grad is None else _dense(grad.to(kind)) for grad, kind in zip(upstream, kinds, strict=True)
    )
    dh, dc = x.new_empty(h.shape, dtype=real), x.new_empty(c.shape, dtype=real)
    dx = [_empty(*x.shape, dtype=x.dtype) if wants_x else None for _ in range(D)]
    dweights = [_Weights.like(layer.weights(d), H) if wants_weights else None for d in range(D)]
    layer.run(
        "lstm_backward",
        [
            (
                layer.direction(d),
                _sequence(y, d * R),
                _trace(cells, gates, d * H),
                (
                    None if dy is None else _sequence(dy, d * R),
                    None if dh_last is None else _state(dh_last, d),
                    None if dc_last is None else _state(dc_last, d),
                    _trace(dcells, dgates, d * H),
                ),
                (
                    None if (part := dx[d]) is None else _sequence(part, 0),
                    _state(dh, d),
                    _state(dc, d),
                    (0, 0, 0, 0) if (grads := dweights[d]) is None else grads.addresses(),
                ),
            )
            for d in range(D)
        ],
    )
    joined = cast(Tensor, dx[0]).add_(cast(Tensor, dx[1])) if D == 2 and wants_x else dx[0]
    given = [grad for d in range(D) for grad in _in_order(dweights[d], len(weights) // D)]
    return [joined, *(None if grad is None else grad.to(x.dtype) for grad in (dh, dc, *given))]


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
    def like(cls, w: "_Weights", hidden_size: int) -> "_Weights":
        """Empty gradients of ``w``."""
        real = real_dtype(w.input.dtype)
        weights = [None if v is None else torch.empty_like(v, dtype=real) for v in (w.input, w.recurrent, w.projection)]
        bias = torch.empty(4 * hidden_size, dtype=real)
        return cls(cast(Tensor, weights[0]), cast(Tensor, weights[1]), bias, None, weights[2])

    def addresses(self) -> tuple[int, int, int, int]:
        """Where the core writes gradients."""
        values = (self.input, self.recurrent, self.bias, self.projection)
        a, b, c, d = (0 if value is None else value.data_ptr() for value in values)
        return a, b, c, d


def _in_order(grads: _Weights | None, count: int) -> list[Tensor | None]:
    """Gradients in torch's order of ``count`` parameters; its two biases have one gradient, but never one tensor."""
    if grads is None:
        return [None] * count
    biases = [grads.bias, cast(Tensor, grads.bias).clone()] if count > 3 else []
    return [grads.input, grads.recurrent, *biases, *([grads.projection] if count in (3, 5) else [])]


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
        gates_dtype: torch.dtype,
    ) -> None:
        self._reverse = reverse
        self._core: Any = native_module()
        self._precision = _PRECISIONS[x.dtype]
        if gates_dtype != x.dtype:
            self._precision += f"/{_PRECISIONS[gates_dtype]}"
        self._x, self._h, self._c = _dense(x), _dense(h), _dense(c.to(real_dtype(x.dtype)))
        self._weights = [_dense(w.contiguous()) for w in weights]
        self._lengths = None if lengths is None else lengths.to("cpu", torch.int64).contiguous()
        self._resets = None if resets is None else resets.contiguous()

    def run(self, function: str, directions: list[Any]) -> None:
        """Call the core for all directions at once."""
        getattr(self._core, function)(directions, torch.get_num_threads(), instruction_set, self._precision)

    def weights(self, d: int) -> _Weights:
        """The parameters of one direction."""
        n = len(self._weights) // self._c.shape[0]
        return _Weights.named(self._weights[d * n : (d + 1) * n])

    def direction(self, d: int) -> tuple[Any, ...]:
        """One direction's sizes, addresses and strides."""
        T, _, I = self._x.shape  # noqa: E741
        _, B, H = self._c.shape
        return (
            (T, B, I, H, self._h.shape[2]),
            _sequence(self._x, 0),
            _state(self._h, d),
            _state(self._c, d),
            tuple(0 if weight is None else weight.data_ptr() for weight in self.weights(d)),
            0 if self._lengths is None else self._lengths.data_ptr(),
            0 if self._resets is None else self._resets.data_ptr(),
            self._reverse or d == 1,
        )


_NO_TRACE = (None, None, 0)


def _dense(value: Tensor) -> Tensor:
    """The core reads along the last axis in steps of one, from whole numbers; it knows no lazy minus sign."""
    value = value.resolve_neg()
    if (value.stride(-1) == 1 or value.shape[-1] == 1) and value.data_ptr() % value.element_size() == 0:
        return value
    return _empty(*value.shape, dtype=value.dtype).copy_(value)


def _sequence(value: Tensor, first: int) -> tuple[int, int, int]:
    """Address and strides of ``(T, B, N)`` from its column ``first`` on."""
    return value.data_ptr() + first * value.element_size(), value.stride(0), value.stride(1)


def _state(value: Tensor, d: int) -> tuple[int, int]:
    """Address and stride of direction ``d`` of ``(D, B, H)``."""
    return value.data_ptr() + d * value.stride(0) * value.element_size(), value.stride(1)


def _trace(cells: Tensor | None, gates: Tensor | None, first: int) -> tuple[Any, Any, int]:
    """Cells ``(T, B, D*H)`` and gates ``(4, T, B, D*H)`` from their column ``first`` on."""
    at_cells = None if cells is None else _sequence(cells, first)
    if gates is None:
        return at_cells, None, 0
    return (
        at_cells,
        (gates.data_ptr() + first * gates.element_size(), gates.stride(1), gates.stride(2)),
        gates.stride(0),
    )


def _empty(*shape: int, dtype: torch.dtype) -> Tensor:
    count = prod(shape)
    if count < _POOLED:
        return torch.empty(shape, dtype=dtype)
    core: Any = native_module()
    return torch.from_dlpack(core.empty(count, _PRECISIONS[dtype])).view(shape)
