"""The engine ``native`` for every cell it has beside the plain LSTM: an autograd node over the core's general step.

Its gradient is the core's; who asks for the gradient of the gradient, or for many at once, gets that of the equations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.ops.engines import is_batched
from lstmkit.ops.native import kept_gates_dtype
from lstmkit.ops.native_call import Direction, Gradients, NativeCall, Outcome
from lstmkit.ops.native_core import PRECISIONS, cast, core, dense, empty, real_dtype, shown_gates
from lstmkit.ops.native_states import pack_states, unpack_states
from lstmkit.ops.native_weights import CoreWeights, core_weights
from lstmkit.reference import LayerResult, Masks
from lstmkit.spec import CellSpec

# The core's names for parameters that are no matrices, in the order of the rows of its totals: first row, rows.
_TOTALS = {
    "ratio": (0, 1),
    "peephole_i": (0, 1),
    "peephole_f": (1, 1),
    "peephole_o": (2, 1),
    "gain_ih": (3, 4),
    "gain_hh": (7, 4),
    "gain_gates": (11, 4),
    "norm_bias": (15, 4),
    "gain_c": (19, 1),
    "bias_c": (20, 1),
}

# Their rows from the first to the last.
_ROWS = sorted(set(_TOTALS.values()))

# Which of the numbers that the core keeps of a step are a cell's gates, where they are not the first ones.
_SHOWN = {"lstm1997": (0, 2, 3)}


class NativeCell(NamedTuple):
    """A layer but for its tensors that have gradients."""

    spec: CellSpec
    lengths: Tensor | None  # (B,)
    resets: Tensor | None  # (T, B)
    masks: Sequence[Masks] | None  # of each direction
    again: Callable[[Tensor, Sequence[Tensor], Sequence[Tensor]], LayerResult]
    """The layer by the equations, of x, states and weights; cells and gates too."""

    @property
    def gates(self) -> Sequence[int]:
        """Which of the kept numbers are gates."""
        return _SHOWN.get(self.spec.cell, range(len(self.spec.gates)))


def run_native_cell(
    cell: NativeCell, x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], *, cells: bool, gates: bool
) -> LayerResult:
    """Run all directions of one layer: ``x (T, B, I)``, states ``(D, B, ...)``, weights in the catalog's order."""
    h, c = pack_states(cell.spec, state)
    names = cell.spec.parameter_names()
    n = len(names)
    directions = [
        core_weights(cell.spec, dict(zip(names, weights[d * n : (d + 1) * n], strict=True)))
        for d in range(cell.spec.num_directions)
    ]
    arranged = [tensor for own in directions for tensor in own.tensors.values()]
    layouts = [_Layout(tuple(own.tensors), own.options, _shape_of(own)) for own in directions]
    y, h, c, states, kept = _NativeCell.apply(cell, layouts, len(weights), gates, x, h, c, *weights, *arranged)  # pyright: ignore
    shown = kept.index_select(2, torch.tensor(cell.gates)).permute(2, 0, 1, 3) if gates else None
    return LayerResult(y, unpack_states(cell.spec, h, c), cast(states[:, :, 0], x.dtype) if cells else None, shown)


class _Layout(NamedTuple):
    """What stands in one direction's arranged tensors, and what the core is told beside them."""

    names: tuple[str, ...]
    options: Mapping[str, Any]
    shape: tuple[int, ...]  # sums, those of the input, recurrent ones, numbers kept, states and vectors of totals


class _NativeCell(torch.autograd.Function):
    """Takes the weights twice: arranged for the core, and as they are for the equations. One of both gets gradients."""

    @staticmethod
    def forward(
        ctx: Any, cell: NativeCell, layouts: list[_Layout], num_weights: int, gates: bool, *inputs: Tensor
    ) -> Any:
        x, h, c = inputs[:3]
        y, h_last, c_last, states, kept = _Call(cell, layouts, x, h, c, inputs[3 + num_weights :]).forward()
        ctx.cell, ctx.layouts, ctx.num_weights = cell, layouts, num_weights
        ctx.save_for_backward(*inputs, y, states, kept)
        ctx.set_materialize_grads(False)
        return y, h_last, cast(c_last, x.dtype), states, shown_gates(kept) if gates else kept

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        *inputs, y, states, kept = ctx.saved_tensors
        wants, n = ctx.needs_input_grad[len(_NOTHING) :], 3 + ctx.num_weights
        if torch.is_grad_enabled() or is_batched(upstream):
            found = _differentiate_equations(ctx.cell, inputs[:n], upstream, wants[:n])
            return *_NOTHING, *found, *[None] * (len(inputs) - n)
        x, h, c = inputs[:3]
        call = _Call(ctx.cell, ctx.layouts, x, h, c, inputs[n:])
        dx, dh, dc, *arranged = call.backward((y, states, kept), upstream, (*wants[:3], any(wants[n:])))
        return *_NOTHING, dx, dh, dc, *[None] * ctx.num_weights, *arranged


# Of cell, layouts, num_weights and gates.
_NOTHING = (None,) * 4


def _differentiate_equations(
    cell: NativeCell, inputs: Sequence[Tensor], upstream: Sequence[Tensor | None], wants: Sequence[bool]
) -> list[Tensor | None]:
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        x, h, c, *weights = inputs
        states = unpack_states(cell.spec, h, c)
        found = cell.again(x, states, weights)
        results = [found.output, *pack_states(cell.spec, found.state), found.cells, found.gates]
        given = list(upstream)
        if given[3] is not None:
            given[3] = given[3][:, :, 0]
        if given[4] is not None:
            given[4] = given[4].index_select(2, torch.tensor(cell.gates)).permute(2, 0, 1, 3)
        pairs = [(r, g) for r, g in zip(results, given, strict=True) if g is not None]
        if len(states) == 1:
            wants = [*wants[:2], False, *wants[3:]]  # the state is h, whose gradient has it all
        wanted = [value for value, want in zip(inputs, wants, strict=True) if want]
        grads = iter(
            torch.autograd.grad(
                [r for r, _ in pairs],  # pyright: ignore
                wanted,
                [g for _, g in pairs],
                allow_unused=True,
                create_graph=create_graph,
            )
        )
    return [next(grads) if want else None for want in wants]


class _Call:
    """A layer and its arranged tensors, as the core takes them."""

    def __init__(
        self, cell: NativeCell, layouts: Sequence[_Layout], x: Tensor, h: Tensor, c: Tensor, arranged: Sequence[Tensor]
    ) -> None:
        self._layouts, self._dtype, self._real = layouts, x.dtype, real_dtype(x.dtype)
        values = iter(arranged)
        self._tensors = [{name: self._as_read(name, next(values)) for name in layout.names} for layout in layouts]
        self._c_shape = tuple(c.shape)
        # A Mogrifier LSTM is a plain one behind its rounds.
        self._kept_dtype = kept_gates_dtype(x.dtype) if cell.spec.cell == "mogrifier" else None
        self._call = NativeCall(
            dense(x),
            (dense(h), dense(cast(c, self._real))),
            [self._direction(d, masks) for d, masks in enumerate(cell.masks or [Masks()] * len(layouts))],
            cell.lengths,
            cell.resets,
            hidden_size=cell.spec.hidden_size,
            output_size=h.shape[2],
            precision=PRECISIONS[x.dtype],
        )

    def _as_read(self, name: str, value: Tensor) -> Tensor:
        """Matrices and the bias are of the input's type, vectors of options of that which sums have."""
        return dense((value if name in _MATRICES else cast(value, self._real)).contiguous())

    def _direction(self, d: int, masks: Masks) -> Direction:
        tensors = self._tensors[d]
        named = {"norm_bias": "bias"}
        vectors = {
            named.get(name, name): tensors[name].data_ptr() for name in (*_TOTALS, "proj_bias") if name in tensors
        }
        # Where masks decide what is kept there is no part that is.
        decided = {"zoneout_h": masks.zoneout_h, "zoneout_c": masks.zoneout_c}
        options = {**self._layouts[d].options, **{name: 0.0 for name, mask in decided.items() if mask is not None}}
        weights = [tensors.get(name) for name in ("input", "recurrent", "bias", "", "projection", "middle", "rounds")]
        return Direction(weights, options | vectors, self._dense_masks(masks))

    def _dense_masks(self, masks: Masks) -> Masks:
        state, candidate = (None if m is None else dense(cast(m, self._dtype)) for m in masks[:2])
        keeps_h, keeps_c = (None if m is None else dense(m.view(torch.uint8)) for m in masks[2:])
        return Masks(state, candidate, keeps_h, keeps_c)

    def forward(self) -> tuple[Tensor, ...]:
        """Output, last h, last states, and of every step the states ``(T, B, S, D*H)`` and what is kept of it."""
        (T, B, _, H, R), D, dtype, real = self._call.sizes, len(self._layouts), self._dtype, self._real
        *_, num_kept, num_states, _ = self._layouts[0].shape
        outcome = Outcome(
            empty((T, B, D * R), dtype),
            empty((D, B, R), dtype),
            empty((*self._c_shape[:2], *([num_states] if num_states > 1 else []), H), real),
            empty((T, B, num_states, D * H), real),
            empty((T, B, num_kept, D * H), self._kept_dtype or dtype),
        )
        self._call.forward(core.lstm_forward, outcome)
        return tuple(outcome)  # pyright: ignore[reportReturnType]

    def backward(
        self, saved: Sequence[Tensor], upstream: Sequence[Tensor | None], wants: Sequence[bool]
    ) -> list[Tensor | None]:
        """Gradients of x, h, c and each arranged tensor, None where they are not wanted."""
        (T, B, I, _, R), D, dtype, real = self._call.sizes, len(self._layouts), self._dtype, self._real  # noqa: E741
        y, states, kept = map(dense, saved)
        kinds = (dtype, real, real, real, dtype)
        flows = (
            None if grad is None else dense(cast(grad, kind).contiguous())
            for grad, kind in zip(upstream, kinds, strict=True)
        )
        dh = empty((D, B, R), real) if wants[1] else None
        dc = empty(self._c_shape, real) if wants[2] else None
        grads = [self._empty_gradients(d) if wants[3] else {} for d in range(D)]
        dx = self._call.backward(
            core.lstm_backward,
            Outcome(y, None, None, states, kept),
            Outcome(*flows),
            [
                Gradients(empty((T, B, I), dtype) if wants[0] else None, [own.get(name) for name in _GRADIENTS])
                for own in grads
            ],
            (dh, dc),
        )
        given = [grad for d in range(D) for grad in self._in_order(d, grads[d])]
        return [dx, *(None if grad is None else cast(grad, dtype) for grad in (dh, dc, *given))]

    def _empty_gradients(self, d: int) -> dict[str, Tensor]:
        tensors, (sums, *_, totals), H = self._tensors[d], self._layouts[0].shape, self._call.sizes[3]
        shapes = {name: tuple(tensors[name].shape) for name in _GRADIENTS if name in tensors}
        shapes |= {"bias": (sums * H,)} | ({"totals": (totals * H,)} if totals else {})
        return {name: empty(shape, self._real) for name, shape in shapes.items()}

    def _in_order(self, d: int, grads: dict[str, Tensor]) -> list[Tensor | None]:
        """Gradients of a direction's arranged tensors."""
        names = self._layouts[d].names
        if not grads:
            return [None] * len(names)
        if "totals" in grads:
            count, H = self._layouts[0].shape[-1], self._call.sizes[3]
            sizes = {first: rows * H for first, rows in _ROWS if first < count}
            parts = dict(zip(sizes, grads["totals"].split_with_sizes([*sizes.values()]), strict=True))
            grads |= {name: parts[_TOTALS[name][0]] for name in names if name in _TOTALS}
        return [grads[name] for name in names]


_MATRICES = ("input", "recurrent", "bias", "projection", "middle", "rounds")
_GRADIENTS = ("input", "recurrent", "bias", "projection", "totals", "proj_bias", "middle", "rounds")


def _shape_of(weights: CoreWeights) -> tuple[int, ...]:
    peepholes = {name: 1 for name in weights.tensors if name.startswith("peephole")}
    return core.cell_shape({name: value for name, value in weights.options.items() if name != "heads"} | peepholes)
