"""One time-major batch through a stack, by the engine that was chosen."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmkit.nn.arrange import Case, autocast_dtype
from lstmkit.ops import (
    AtenOptions,
    lstm_layer,
    run_aten,
    run_aten_lengths,
    run_aten_packed,
    run_native_layer,
    split_weights,
)
from lstmkit.reference import LayerResult, mark_steps, run_layer
from lstmkit.spec import CellSpec

State = tuple[Tensor, Tensor]


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
    """Whether a torch.func transform (vmap, grad, jvp) is running, through which no opaque op can go."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def run_torch(stack: Stack, case: Case, state: State) -> tuple[Tensor, Tensor, Tensor]:
    """The whole stack in one call of ATen, with ATen's own autograd."""
    weights = [weight for layer in stack.weights for weight in layer]
    if case.lengths is None:
        return run_aten(case.x, *state, weights, stack.aten_options())
    return run_aten_lengths(case.x, *state, weights, case.lengths, stack.aten_options())


def run_torch_packed(stack: Stack, packed: PackedSequence, state: State) -> tuple[PackedSequence, Tensor, Tensor]:
    """The same for a PackedSequence."""
    weights = [weight for layer in stack.weights for weight in layer]
    return run_aten_packed(packed, *state, weights, stack.aten_options())


def run_layers(
    stack: Stack, case: Case, state: State, *, engine: str, cells: bool = False, gates: bool = False
) -> tuple[Tensor, Tensor, Tensor, list[LayerResult]]:
    """Layer after layer through the op, whose written-out gradient is the faster one; torch.func sees the equations."""
    dtype = autocast_dtype(case.x)
    if dtype is None:
        return _run_layers(stack, case, state, engine, cells, gates)
    stack, case, state = _cast(stack, case, state, dtype)
    with torch.autocast(case.x.device.type, enabled=False):
        return _run_layers(stack, case, state, engine, cells, gates)


def _cast(stack: Stack, case: Case, state: State, dtype: torch.dtype) -> tuple[Stack, Case, State]:
    """Autocast by hand: as ATen's LSTM does it, everything takes part in the lower precision."""
    weights = [[weight.to(dtype) for weight in layer] for layer in stack.weights]
    h, c = state
    return stack._replace(weights=weights), case._replace(x=case.x.to(dtype)), (h.to(dtype), c.to(dtype))


def _run_layers(
    stack: Stack, case: Case, state: State, engine: str, cells: bool, gates: bool
) -> tuple[Tensor, Tensor, Tensor, list[LayerResult]]:
    x, (h, c) = case.x, state
    lengths = None if case.lengths is None else case.lengths.to(x.device)
    D = stack.spec.num_directions
    run = _run_reference if transforming() else _run_op
    results: list[LayerResult] = []
    for layer, weights in enumerate(stack.weights):
        if layer and stack.dropout:
            x = torch.nn.functional.dropout(x, stack.dropout, stack.training)
        rows = slice(layer * D, (layer + 1) * D)
        results.append(run(x, h[rows], c[rows], weights, lengths, case.resets, engine, cells, gates))
        x = results[-1].output
    return x, torch.cat([r.h for r in results]), torch.cat([r.c for r in results]), results


def _run_op(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    engine: str,
    cells: bool,
    gates: bool,
) -> LayerResult:
    if engine == "native" and not torch.compiler.is_compiling():
        results = run_native_layer(x, h, c, weights, lengths, resets, trace=cells or gates)
        return LayerResult(*results[:3], results[3].to(x.dtype) if cells else None, results[4] if gates else None)
    trace = engine != "torch" and (cells or gates or torch.is_grad_enabled())
    output, h, c, all_cells, all_gates = lstm_layer(x, h, c, weights, lengths, resets, engine, trace)
    return LayerResult(output, h, c, all_cells.to(x.dtype) if cells else None, all_gates if gates else None)


def _run_reference(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    engine: str,
    cells: bool,
    gates: bool,
) -> LayerResult:
    steps = mark_steps(torch, x, lengths, resets)
    return run_layer(torch, split_weights(weights, h.shape[0]), x, h, c, steps, cells=cells, gates=gates)


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
