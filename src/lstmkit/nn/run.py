"""One time-major batch through a stack, by the engine that was chosen."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmkit.nn.arrange import Case, autocast_dtype
from lstmkit.nn.regularisers import Rates, draw_masks, drop_input
from lstmkit.nn.variant import run_variant, run_variant_op
from lstmkit.ops import (
    AtenOptions,
    Layer,
    Ways,
    lstm_layer,
    run_aten,
    run_aten_lengths,
    run_aten_packed,
    run_equations,
    run_native_layer,
)
from lstmkit.reference import LayerResult, join_states, pass_by, split_states
from lstmkit.spec import CellSpec

State = tuple[Tensor, ...]


class Stack(NamedTuple):
    """A module's part in a run: what it is, its weights by layer in torch's order, its dropouts."""

    spec: CellSpec
    weights: list[list[Tensor]]
    dropout: float
    training: bool
    rates: Rates = Rates()  # all 0 in evaluation
    skips: Mapping[str, Tensor] = MappingProxyType({})  # parameters of what goes past layers, by name
    documents: tuple[str, ...] = ()  # each layer of a variant as JSON

    def is_one_call(self) -> bool:
        """Whether ATen can run the stack at once: alike layers, and nothing between them but dropout."""
        return not (self.spec.layer_sizes or self.spec.skip != "none" or self.rates.input_dropout)

    def is_plain(self) -> bool:
        """Whether the recurrence is that of the plain LSTM, without masks."""
        return not (self.spec.variant.changed or self.rates.inside())

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


def run_torch(stack: Stack, case: Case, state: State) -> tuple[Tensor, State]:
    """The whole stack in one call of ATen, with ATen's own autograd."""
    weights = [weight for layer in stack.weights for weight in layer]
    h, c = state
    if case.lengths is None:
        output, *last = run_aten(case.x, h, c, weights, stack.aten_options())
    else:
        output, *last = run_aten_lengths(case.x, h, c, weights, case.lengths, stack.aten_options())
    return output, tuple(last)


def run_torch_packed(stack: Stack, packed: PackedSequence, state: State) -> tuple[PackedSequence, State]:
    """The same for a PackedSequence."""
    weights = [weight for layer in stack.weights for weight in layer]
    h, c = state
    output, *last = run_aten_packed(packed, h, c, weights, stack.aten_options())
    return output, tuple(last)


class Wanted(NamedTuple):
    """How a run is done: the engine, what it gives back beside the output, what it keeps for backward."""

    engine: str
    cells: bool = False
    gates: bool = False
    checkpoint_steps: int = 0  # 0: every step's cells and gates are kept
    saved_dtype: torch.dtype | None = None


def run_layers(stack: Stack, case: Case, state: State, wanted: Wanted) -> tuple[Tensor, State, list[LayerResult]]:
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
    skips = {name: value.to(dtype) for name, value in stack.skips.items()}
    state = tuple(value.to(dtype) for value in state)
    return stack._replace(weights=weights, skips=skips), case._replace(x=case.x.to(dtype)), state


def _run_layers(stack: Stack, case: Case, state: State, wanted: Wanted) -> tuple[Tensor, State, list[LayerResult]]:
    spec, x = stack.spec, case.x
    if case.lengths is not None:
        case = case._replace(lengths=case.lengths.to(x.device))
    results: list[LayerResult] = []
    for layer, first in enumerate(split_states(spec, state)):
        read = torch.nn.functional.dropout(x, stack.dropout, stack.training) if layer and stack.dropout else x
        read = drop_input(read, stack.rates.input_dropout)
        case = case if read is case.x else case._replace(x=read)
        results.append(_run_layer(stack, layer, case, first, wanted))
        x = pass_by(torch, spec, stack.skips, layer, x, results[-1].output)
    return x, join_states(torch, spec, [result.state for result in results]), results


def _run_layer(stack: Stack, layer: int, case: Case, state: State, wanted: Wanted) -> LayerResult:
    spec, weights = stack.spec, stack.weights[layer]
    if not stack.is_plain():
        masks = draw_masks(spec, stack.rates, layer, case.x) if stack.training else None
        ways = Ways("reference", wanted.cells, wanted.gates)
        if masks is None and (torch.compiler.is_compiling() or exporting()):
            return run_variant_op(stack.documents[layer], weights, case, state, ways)
        return run_variant(spec, layer, weights, case, state, masks, ways)
    h, c = state
    run = _run_reference if transforming() else _run_op
    return run(Layer(case.x, h, c, weights, case.lengths, case.resets), wanted)


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
