"""One call of the native core for a layer: its tensors as addresses and strides, for all directions at once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.ops.native_core import run_core, sequence_at, state_at
from lstmkit.reference import Masks

_NO_MASKS = (None,) * 4


class Direction(NamedTuple):
    """What the core is given of one direction beside its input and states."""

    weights: Sequence[Tensor | None]  # input, recurrent, bias, recurrent bias, projection, middle, rounds
    options: Mapping[str, Any] | None = None  # numbers, and addresses of vectors; None is a plain LSTM
    masks: Masks | None = None  # of regularisers


class Outcome(NamedTuple):
    """What a layer gives and keeps, or the gradients of that which flow in; None is none."""

    y: Tensor | None  # (T, B, D*R)
    h: Tensor | None  # (D, B, R)
    c: Tensor | None  # (D, B, H) or (D, B, S, H)
    states: Tensor | None  # (T, B, D*H) or (T, B, S, D*H)
    kept: Tensor | None  # (T, B, K, D*H)


class Gradients(NamedTuple):
    """Where the core writes the gradients of one direction; None is not wanted."""

    x: Tensor | None  # (T, B, I)
    weights: Sequence[Tensor | None]  # input, recurrent, bias, projection, options' totals, its bias, middle, rounds


class NativeCall:
    """A layer's arguments as the core takes them; keeps alive what the addresses point to.

    Args:
        x: ``(T, B, I)``, with a dense last axis.
        state: h ``(D, B, R)`` and c ``(D, B, H)`` or ``(D, B, S, H)``, dense alike; None is zeros.
        directions: The rest of each direction.
        lengths: ``(B,)``, or None.
        resets: ``(T, B)``, or None.
        hidden_size: ``H``.
        output_size: ``R``.
        precision: The core's name for it.
        reverse: Whether what stands first is the second direction.
    """

    def __init__(
        self,
        x: Tensor,
        state: tuple[Tensor | None, Tensor | None],
        directions: Sequence[Direction],
        lengths: Tensor | None,
        resets: Tensor | None,
        *,
        hidden_size: int,
        output_size: int,
        precision: str,
        reverse: bool = False,
    ) -> None:
        self._x, (self._h, self._c), self._directions = x, state, directions
        self._lengths = None if lengths is None else lengths.to("cpu", torch.int64).contiguous()
        self._resets = None if resets is None else resets.contiguous()
        self._precision, self._reverse = precision, reverse
        self.sizes = (*x.shape, hidden_size, output_size)  # T, B, I, H and R

    def forward(self, function: Any, to: Outcome) -> None:
        """Run the layer into these tensors."""
        R = self.sizes[4]
        jobs = [
            (self._case(d), sequence_at(to.y, d * R), *_states_at(to.h, to.c, d), self._trace(to, d))
            for d in range(len(self._directions))
        ]
        run_core(function, jobs, self._precision)

    def backward(
        self,
        function: Any,
        saved: Outcome,
        upstream: Outcome,
        gradients: Sequence[Gradients],
        state: tuple[Tensor | None, Tensor | None],
    ) -> Tensor | None:
        """Write the gradients of weights and states, and return that of x, where they are wanted.

        Args:
            function: The core's.
            saved: ``y``, ``states`` and ``kept`` of the forward run.
            upstream: What flows in.
            gradients: Of each direction.
            state: Of the first states, as they are given.
        """
        R = self.sizes[4]
        jobs = [
            (
                self._case(d),
                sequence_at(saved.y, d * R),
                self._trace(saved, d),
                (
                    sequence_at(upstream.y, d * R),
                    state_at(upstream.h, d),
                    state_at(upstream.c, d),
                    self._trace(upstream, d),
                ),
                (
                    sequence_at(own.x, 0),
                    state_at(state[0], d),
                    state_at(state[1], d),
                    tuple(map(_address, own.weights)),
                ),
            )
            for d, own in enumerate(gradients)
        ]
        run_core(function, jobs, self._precision)
        both = [own.x for own in gradients if own.x is not None]
        return both[0].add_(both[1]) if len(both) == 2 else gradients[0].x

    def _case(self, d: int) -> tuple[Any, ...]:
        """One direction's sizes, addresses and strides."""
        weights, options, masks = self._directions[d]
        return (
            self.sizes,
            sequence_at(self._x, 0),
            *_states_at(self._h, self._c, d),
            tuple(map(_address, weights)),
            _address(self._lengths),
            _address(self._resets),
            self._reverse or d == 1,
            options,
            _NO_MASKS if masks is None else _masks_at(masks),
        )

    def _trace(self, of: Outcome, d: int) -> tuple[Any, ...]:
        """Where the columns of a direction begin in states and kept numbers."""
        first = d * self.sizes[3]
        apart = [0 if value is None or value.dim() == 3 else value.stride(2) for value in (of.kept, of.states)]
        return sequence_at(of.states, first), sequence_at(of.kept, first), *apart


def _address(value: Tensor | None) -> int:
    return 0 if value is None else value.data_ptr()


def _states_at(h: Tensor | None, c: Tensor | None, d: int) -> tuple[Any, Any]:
    return state_at(h, d), state_at(c, d)


def _masks_at(masks: Masks) -> tuple[Any, ...]:
    state = None if masks.state is None else (masks.state.data_ptr(), masks.state.stride(0))
    return state, *(sequence_at(mask, 0) for mask in masks[1:])
