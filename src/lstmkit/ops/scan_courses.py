"""The layers that the core runs without a loop over products, as it takes them: addresses, strides and room."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lstmkit.ops.cell_call import CellLayer
from lstmkit.ops.native import Wants
from lstmkit.ops.native_core import PRECISIONS, core, dense, empty, run_scan, sequence_at, state_at

# With fewer inputs it takes longer to write products to memory and to read them than to multiply again.
_MULTIPLIES_AGAIN_BELOW = 64


class _Course:
    """A layer's arguments; keeps alive what the addresses point to. A direction is a call of its own."""

    def __init__(self, layer: CellLayer) -> None:
        self._layer = layer
        self._spec, self._dtype, self._directions = layer.spec, layer.x.dtype, layer.spec.num_directions
        self._sizes = (*layer.x.shape, layer.spec.hidden_size)  # T, B, I, H
        self._x = dense(layer.x)
        self._lengths = None if layer.lengths is None else layer.lengths.to("cpu", torch.int64).contiguous()
        self._resets = None if layer.resets is None else layer.resets.contiguous()

    def _own(self, d: int) -> Sequence[Tensor]:
        """The parameters of one direction."""
        n = len(self._layer.weights) // self._directions
        return self._layer.weights[d * n : (d + 1) * n]

    def _masks(self, d: int) -> tuple[int, int, bool]:
        return _address(self._lengths), _address(self._resets), d == 1

    def _new(self, *shape: int) -> Tensor:
        return empty(shape, self._dtype)

    def _call(self, function: Any, *arguments: Any) -> None:
        run_scan(function, arguments, PRECISIONS[self._dtype])

    def _input_gradients(self, wants: Wants) -> list[Tensor | None]:
        T, B, I, _ = self._sizes  # noqa: E741
        return [self._new(T, B, I) if wants.x else None for _ in range(self._directions)]


class MinimalCourse(_Course):
    """minLSTM and minGRU."""

    _GATES: ClassVar = {"minlstm": 3, "mingru": 2}

    def __init__(self, layer: CellLayer) -> None:
        self._width = self._GATES[layer.spec.cell] * layer.spec.hidden_size
        super().__init__(layer)
        self._h = dense(layer.state[0])
        self._weights = [[dense(w.contiguous()) for w in self._own(d)] for d in range(self._directions)]

    def forward(self, *, keep: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Output ``(T, B, D*H)``, last states, and the products ``(T, B, D*G*H)`` if backward is to come."""
        (T, B, _, H), D = self._sizes, self._directions
        output, last = self._new(T, B, D * H), self._new(D, B, H)
        kept = [self._new(T, B, D * self._width)] if keep and self._sizes[2] >= _MULTIPLIES_AGAIN_BELOW else []
        for d in range(D):
            results = sequence_at(output, d * H), state_at(last, d), self._products(kept, d)
            self._call(core.scan_forward, self._direction(d), *results)
        return output, [last], kept

    def backward(
        self,
        upstream: Sequence[Tensor | None],
        output: Tensor,
        last: Sequence[Tensor],
        kept: Sequence[Tensor],
        wants: Wants,
    ) -> list[Tensor | None]:
        """Gradients with respect to x, h and each weight; those that are not wanted may be None."""
        (_, B, I, H), D = self._sizes, self._directions  # noqa: E741
        grad_output, grad_last = (None if grad is None else dense(grad) for grad in upstream)
        dx, dh = self._input_gradients(wants), self._new(D, B, H) if wants.state else None
        dweights: list[Tensor | None] = []
        for d in range(D):
            weight = self._new(self._width, I) if wants.weights else None
            bias = self._new(self._width) if wants.weights else None
            self._call(
                core.scan_backward,
                self._direction(d),
                sequence_at(output, d * H),
                self._products(kept, d),
                sequence_at(grad_output, d * H),
                state_at(grad_last, d),
                sequence_at(dx[d], 0),
                state_at(dh, d),
                _address(weight),
                _address(bias),
            )
            dweights += [weight, bias][: len(self._weights[d])]
        return [_join(dx), dh, *dweights]

    def _products(self, kept: Sequence[Tensor], d: int) -> tuple[int, int, int] | None:
        return sequence_at(kept[0], d * self._width) if kept else None

    def _direction(self, d: int) -> tuple[Any, ...]:
        weight, *bias = self._weights[d]
        parameters = weight.data_ptr(), _address(bias[0] if bias else None)
        return self._spec.cell, self._sizes, sequence_at(self._x, 0), state_at(self._h, d), *parameters, *self._masks(d)


class MLSTMCourse(_Course):
    """mLSTM."""

    def __init__(self, layer: CellLayer) -> None:
        self._heads = layer.spec.num_heads
        super().__init__(layer)
        self._state = [value.contiguous().resolve_neg() for value in layer.state]
        self._weights = [[dense(w.contiguous()) for w in self._own(d)] for d in range(self._directions)]

    def forward(self, *, keep: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Output ``(T, B, D*H)``, last states, and for backward states between chunks and products."""
        (T, B, I, H), D = self._sizes, self._directions  # noqa: E741
        output, last = self._new(T, B, D * H), [self._new(*value.shape) for value in self._state]
        kept: list[Tensor] = []
        if keep:
            products, between = core.mlstm_kept((*self._sizes, self._heads))
            kept = [self._new(D, between)] + ([self._new(D, products)] if I >= _MULTIPLIES_AGAIN_BELOW else [])
        for d in range(D):
            results = sequence_at(output, d * H), _addresses(last, d), self._kept(kept, d)
            self._call(core.mlstm_forward, self._direction(d), *results)
        return output, last, kept

    def backward(
        self,
        upstream: Sequence[Tensor | None],
        output: Tensor,
        last: Sequence[Tensor],
        kept: Sequence[Tensor],
        wants: Wants,
    ) -> list[Tensor | None]:
        """Gradients with respect to x, each state and each weight; those that are not wanted may be None."""
        (*_, I, H), D = self._sizes, self._directions  # noqa: E741
        grad_output = None if upstream[0] is None else dense(upstream[0])
        grad_last = self._state_gradients(upstream[1:])
        dx, d_first = self._input_gradients(wants), [self._new(*value.shape) for value in self._state]
        shapes = (4 * H, I), (2 * self._heads, I), (4 * H,), (2 * self._heads,)
        dweights: list[Tensor | None] = []
        for d in range(D):
            own = [self._new(*shape) for shape in shapes] if wants.weights else []
            self._call(
                core.mlstm_backward,
                self._direction(d),
                _addresses(last, d),
                self._kept(kept, d),
                sequence_at(output, d * H),
                sequence_at(grad_output, d * H),
                _addresses(grad_last, d),
                sequence_at(dx[d], 0),
                _addresses(d_first, d) if wants.state else _NOWHERE,
                _parameters(own),
            )
            dweights += [*own, *[None] * 4][: len(self._weights[d])]
        return [_join(dx), *(d_first if wants.state else [None] * len(d_first)), *dweights]

    def _state_gradients(self, given: Sequence[Tensor | None]) -> list[Tensor]:
        """All of them or none, as the core takes them."""
        if all(grad is None for grad in given):
            return []
        pairs = zip(given, self._state, strict=True)
        return [torch.zeros_like(state) if grad is None else grad.contiguous().resolve_neg() for grad, state in pairs]

    def _kept(self, kept: Sequence[Tensor], d: int) -> tuple[int, int]:
        between, products = *(_of(value, d) for value in kept), *(0,) * (2 - len(kept))
        return products, between

    def _direction(self, d: int) -> tuple[Any, ...]:
        parameters = _addresses(self._state, d), _parameters(self._weights[d])
        return (*self._sizes, self._heads), sequence_at(self._x, 0), *parameters, *self._masks(d)


COURSES = {"minlstm": MinimalCourse, "mingru": MinimalCourse, "mlstm": MLSTMCourse}

_NOWHERE = (0, 0, 0)


def _address(value: Tensor | None) -> int:
    return 0 if value is None else value.data_ptr()


def _addresses(states: Sequence[Tensor], d: int) -> tuple[int, ...]:
    """Where memory, normaliser and scale of a direction are."""
    return tuple(_of(value, d) for value in states) or _NOWHERE


def _of(value: Tensor, d: int) -> int:
    """Where direction ``d`` is, without a view of it, which takes torch as long as the core needs for a step."""
    return value.data_ptr() + d * value.stride(0) * value.element_size()


def _parameters(weights: Sequence[Tensor]) -> tuple[int, ...]:
    """Where the two weights are, and the two biases, if there are any."""
    return *(weight.data_ptr() for weight in weights), *(0,) * (4 - len(weights))


def _join(dx: Sequence[Tensor | None]) -> Tensor | None:
    """The input's gradient from both directions."""
    one, *other = dx
    return one.add_(other[0]) if one is not None and other and other[0] is not None else one
