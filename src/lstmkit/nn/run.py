"""One time-major batch through a stack, by the engine that was chosen."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmkit.nn.arrange import Case, State, autocast_dtype
from lstmkit.ops import (
    AtenOptions,
    lstm_layer,
    run_aten,
    run_aten_lengths,
    run_aten_packed,
    run_native_layer,
    split_weights,
    zero_state,
)
from lstmkit.reference import LayerResult, mark_steps, run_layer
from lstmkit.spec import CellSpec


class Stack(NamedTuple):
    """A module's part in a run: what it is, its weights by layer in torch's order, its dropout."""

    spec: CellSpec
    weights: list[list[Tensor]]
    dropout: float
    training: bool

    def aten_options(self) -> AtenOptions:
        """The same for ATen."""
        spec = self.spec
        return AtenOptions(
            spec.num_layers, spec.bias, spec.bidirectional, spec.proj_size > 0, self.dropout, self.training
        )


def transforming() -> bool:
    """Whether a torch.func transform (vmap, grad, jvp) or forward-mode AD runs, through which no opaque op can go."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def exporting() -> bool:
    """Whether the graph that is being made may run elsewhere: torch.export, and torch.jit.trace."""
    return _is_exporting() or (not torch.compiler.is_compiling() and torch.jit.is_tracing())  # pyright: ignore


# torch knew no difference before 2.7.
_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def run_torch(stack: Stack, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """The whole stack in one call of ATen, with ATen's own autograd."""
    weights = [weight for layer in stack.weights for weight in layer]
    h, c = case.hx or _zero_state(stack, case.x, case.x.shape[1])
    if case.lengths is None:
        return run_aten(case.x, h, c, weights, stack.aten_options())
    return run_aten_lengths(case.x, h, c, weights, case.lengths, stack.aten_options())


def run_torch_packed(stack: Stack, packed: PackedSequence, hx: State | None) -> tuple[PackedSequence, Tensor, Tensor]:
    """The same for a PackedSequence."""
    weights = [weight for layer in stack.weights for weight in layer]
    h, c = hx or _zero_state(stack, packed.data, int(packed.batch_sizes[0]))
    return run_aten_packed(packed, h, c, weights, stack.aten_options())


def _zero_state(stack: Stack, x: Tensor, batch: int) -> State:
    spec = stack.spec
    rows = spec.num_layers * spec.num_directions
    return x.new_zeros(rows, batch, spec.state_size), x.new_zeros(rows, batch, spec.hidden_size)


class Wanted(NamedTuple):
    """How a run is done: the engine, what it gives back beside the output, what it keeps for backward."""

    engine: str
    cells: bool = False
    gates: bool = False
    checkpoint_steps: int = 0  # 0: every step's cells and gates are kept
    saved_dtype: torch.dtype | None = None


def run_layers(stack: Stack, case: Case, wanted: Wanted) -> tuple[Tensor, Tensor, Tensor, list[LayerResult]]:
    """Layer after layer through the op, whose written-out gradient is the faster one; torch.func sees the equations."""
    dtype = autocast_dtype(case.x)
    if dtype is None:
        return _run_layers(stack, case, wanted)
    stack, case = _cast(stack, case, dtype)
    with torch.autocast(case.x.device.type, enabled=False):
        return _run_layers(stack, case, wanted)


def _cast(stack: Stack, case: Case, dtype: torch.dtype) -> tuple[Stack, Case]:
    """Autocast by hand: as ATen's LSTM does it, everything takes part in the lower precision."""
    weights = [[weight.to(dtype) for weight in layer] for layer in stack.weights]
    hx = None if case.hx is None else (case.hx[0].to(dtype), case.hx[1].to(dtype))
    return stack._replace(weights=weights), case._replace(x=case.x.to(dtype), hx=hx)


def _run_layers(stack: Stack, case: Case, wanted: Wanted) -> tuple[Tensor, Tensor, Tensor, list[LayerResult]]:
    x = case.x
    lengths = None if case.lengths is None else case.lengths.to(x.device)
    run = _run_reference if transforming() else _run_op
    results: list[LayerResult] = []
    for weights, state in zip(stack.weights, _state_of_each(stack, case.hx), strict=True):
        if results and stack.dropout:
            x = torch.nn.functional.dropout(x, stack.dropout, stack.training)
        results.append(run(x, state, weights, lengths, case.resets, wanted))
        x = results[-1].output
    if len(results) == 1:
        return x, results[0].h, results[0].c, results
    return x, torch.cat([r.h for r in results]), torch.cat([r.c for r in results]), results


def _state_of_each(stack: Stack, hx: State | None) -> Sequence[State | None]:
    if hx is None or len(stack.weights) == 1:
        return [hx] * len(stack.weights)
    h, c = (value.split(stack.spec.num_directions) for value in hx)
    return [*zip(h, c, strict=True)]


def _run_op(
    x: Tensor,
    state: State | None,
    weights: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    wanted: Wanted,
) -> LayerResult:
    engine, cells, gates, chunk_steps, saved_dtype = wanted
    # What is given back is not rounded.
    gates_dtype = saved_dtype if engine == "native" and x.dtype == torch.float32 and not (cells or gates) else None
    if engine == "native" and not chunk_steps and _is_plain(x):
        h, c = state or (None, None)
        trace = cells or gates
        output, h, c, *traced = run_native_layer(
            x, h, c, weights, lengths, resets, trace=trace, gates_dtype=gates_dtype
        )
    else:
        h, c = state or zero_state(x, weights)
        trace = engine != "torch" and (cells or gates or torch.is_grad_enabled())
        how = engine, trace, chunk_steps, gates_dtype
        output, h, c, *traced = lstm_layer(x, h, c, weights, lengths, resets, *how)
    return LayerResult(output, h, c, traced[0].to(output.dtype) if cells else None, traced[1] if gates else None)


def _is_plain(x: Tensor) -> bool:
    """Whether nobody looks on: no compiler, tracer, dispatch mode or kind of tensor of its own; those need the op."""
    if torch.compiler.is_compiling() or exporting() or torch._C._len_torch_dispatch_stack():
        return False
    return type(x) is Tensor or type(x) is torch.nn.Parameter


def _run_reference(
    x: Tensor,
    state: State | None,
    weights: list[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    wanted: Wanted,
) -> LayerResult:
    h, c = state or zero_state(x, weights)
    steps = mark_steps(torch, x, lengths, resets)
    named = split_weights(weights, h.shape[0])
    return run_layer(torch, named, x, h, c, steps, cells=wanted.cells, gates=wanted.gates)


def unpack(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """The padded batch ``(T, B, I)`` and its lengths, in the order of the unpacked batch."""
    return pad_packed_sequence(packed)


def pack_like(output: Tensor, lengths: Tensor, packed: PackedSequence) -> PackedSequence:
    """Pack ``output`` exactly as ``packed`` is."""
    order = packed.sorted_indices
    if order is not None:
        output, lengths = output.index_select(1, order), lengths.index_select(0, order.to(lengths.device))
    data = pack_padded_sequence(output, lengths).data
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
