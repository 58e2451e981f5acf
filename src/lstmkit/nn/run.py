"""One time-major batch through a stack, by the engine that was chosen."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmkit.nn.arrange import Case, autocast_dtype
from lstmkit.ops import (
    AtenOptions,
    Layer,
    lstm_layer,
    run_aten,
    run_aten_lengths,
    run_aten_packed,
    run_equations,
    run_native_layer,
)
from lstmkit.reference import LayerResult
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
    """Whether a torch.func transform (vmap, grad, jvp) or forward-mode AD runs, through which no opaque op can go."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def exporting() -> bool:
    """Whether the graph that is being made may run elsewhere: torch.export, and torch.jit.trace."""
    return _is_exporting() or (not torch.compiler.is_compiling() and torch.jit.is_tracing())  # pyright: ignore


# torch knew no difference before 2.7.
_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


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


class Wanted(NamedTuple):
    """How a run is done: the engine, what it gives back beside the output, what it keeps for backward."""

    engine: str
    cells: bool = False
    gates: bool = False
    checkpoint_steps: int = 0  # 0: every step's cells and gates are kept
    saved_dtype: torch.dtype | None = None


def run_layers(
    stack: Stack, case: Case, state: State, wanted: Wanted
) -> tuple[Tensor, Tensor, Tensor, list[LayerResult]]:
    """Layer after layer through the op, whose written-out gradient is the faster one; torch.func sees the equations."""
    dtype = autocast_dtype(case.x)
    if dtype is None:
        return _run_layers(stack, case, state, wanted)
    stack, case, state = _cast(stack, case, state, dtype)
    with torch.autocast(case.x.device.type, enabled=False):
        return _run_layers(stack, case, state, wanted)


def _cast(stack: Stack, case: Case, state: State, dtype: torch.dtype) -> tuple[Stack, Case, State]:
    """Autocast by hand: as ATen's LSTM does it, everything takes part in the lower precision."""
    weights = [[weight.to(dtype) for weight in layer] for layer in stack.weights]
    h, c = state
    return stack._replace(weights=weights), case._replace(x=case.x.to(dtype)), (h.to(dtype), c.to(dtype))


def _run_layers(
    stack: Stack, case: Case, state: State, wanted: Wanted
) -> tuple[Tensor, Tensor, Tensor, list[LayerResult]]:
    x, (h, c) = case.x, state
    lengths = None if case.lengths is None else case.lengths.to(x.device)
    D = stack.spec.num_directions
    run = _run_reference if transforming() else _run_op
    results: list[LayerResult] = []
    states = [(h, c)] if len(stack.weights) == 1 else zip(h.split(D), c.split(D), strict=True)
    for weights, (h_first, c_first) in zip(stack.weights, states, strict=True):
        if results and stack.dropout:
            x = torch.nn.functional.dropout(x, stack.dropout, stack.training)
        results.append(run(Layer(x, h_first, c_first, weights, lengths, case.resets), wanted))
        x = results[-1].output
    if len(results) == 1:
        h, c = results[0].state
    else:
        h, c = map(torch.cat, zip(*(r.state for r in results), strict=True))
    return x, h, c, results


def _run_op(layer: Layer, wanted: Wanted) -> LayerResult:
    engine, cells, gates, chunk_steps, saved_dtype = wanted
    if engine == "native" and not chunk_steps and _is_plain(layer.x):
        trace = cells or gates
        gates_dtype = saved_dtype if layer.x.dtype == torch.float32 and not trace else None
        results = run_native_layer(*layer, trace=trace, gates_dtype=gates_dtype)
    else:
        trace = engine != "torch" and (cells or gates or torch.is_grad_enabled())
        results = lstm_layer(*layer, engine, trace, chunk_steps)
    output, h, c, all_cells, all_gates = results
    return LayerResult(output, (h, c), all_cells.to(output.dtype) if cells else None, all_gates if gates else None)


def _is_plain(x: Tensor) -> bool:
    """Whether nobody looks on: no compiler, tracer, dispatch mode or kind of tensor of its own; those need the op."""
    if torch.compiler.is_compiling() or exporting() or torch._C._len_torch_dispatch_stack():
        return False
    return type(x) is Tensor or type(x) is torch.nn.Parameter


def _run_reference(layer: Layer, wanted: Wanted) -> LayerResult:
    return run_equations(layer, cells=wanted.cells, gates=wanted.gates)


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
