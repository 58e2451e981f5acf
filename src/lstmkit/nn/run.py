"""One time-major batch through a stack, by the engine that was chosen."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmkit.nn.arrange import Case, State, autocast_dtype
from lstmkit.nn.regularisers import Rates, draw_masks, drop_input
from lstmkit.nn.variant import run_variant, run_variant_op
from lstmkit.ops import (
    AtenOptions,
    Layer,
    Ways,
    kept_gates_dtype,
    lstm_layer,
    run_aten,
    run_aten_lengths,
    run_aten_packed,
    run_equations,
    run_native_layer,
)
from lstmkit.reference import LayerResult, join_states, pass_by, split_states, zero_state
from lstmkit.spec import CellSpec


class Stack(NamedTuple):
    """A module's part in a run: what it is, its weights by layer in torch's order, its dropouts."""

    spec: CellSpec
    weights: list[list[Tensor]]
    dropout: float
    training: bool
    rates: Rates = Rates()  # all 0 in evaluation
    skips: Mapping[str, Tensor] = MappingProxyType({})  # parameters of what goes past layers, by name
    layers: tuple[CellSpec, ...] = ()  # each layer as a stack of its own
    documents: tuple[str, ...] = ()  # the same as JSON

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


def run_torch(stack: Stack, case: Case) -> tuple[Tensor, State]:
    """The whole stack in one call of ATen, with ATen's own autograd."""
    weights = [weight for layer in stack.weights for weight in layer]
    h, c = case.hx or zero_state(torch, stack.spec, case.x.shape[1], case.x)
    if case.lengths is None:
        output, h, c = run_aten(case.x, h, c, weights, stack.aten_options())
    else:
        output, h, c = run_aten_lengths(case.x, h, c, weights, case.lengths, stack.aten_options())
    return output, (h, c)


def run_torch_packed(stack: Stack, packed: PackedSequence, hx: State | None) -> tuple[PackedSequence, State]:
    """The same for a PackedSequence."""
    weights = [weight for layer in stack.weights for weight in layer]
    h, c = hx or zero_state(torch, stack.spec, int(packed.batch_sizes[0]), packed.data)
    output, h, c = run_aten_packed(packed, h, c, weights, stack.aten_options())
    return output, (h, c)


class Wanted(NamedTuple):
    """How a run is done: the engine, what it gives back beside the output, what it keeps for backward."""

    engine: str
    cells: bool = False
    gates: bool = False
    checkpoint_steps: int = 0  # 0: every step's cells and gates are kept
    saved_dtype: torch.dtype | None = None

    def gates_dtype(self, x: Tensor) -> torch.dtype | None:
        """What the gates are kept in, if not in the type of ``x``; those that are given back are not rounded."""
        is_free = self.engine == "native" and not (self.cells or self.gates)
        return kept_gates_dtype(x.dtype, self.saved_dtype) if is_free else None


def run_layers(stack: Stack, case: Case, wanted: Wanted) -> tuple[Tensor, State, list[LayerResult]]:
    """Layer after layer through the op, whose written-out gradient is the faster one; torch.func sees the equations."""
    dtype = autocast_dtype(case.x)
    if dtype is None:
        return _run_layers(stack, case, wanted)
    stack, case = _cast(stack, case, dtype, wanted)
    with torch.autocast(case.x.device.type, enabled=False):
        return _run_layers(stack, case, wanted)


def _cast(stack: Stack, case: Case, dtype: torch.dtype, wanted: Wanted) -> tuple[Stack, Case]:
    """Autocast by hand: as ATen's LSTM does it, everything takes part in the lower precision."""
    weights = stack.weights
    if not (stack.is_plain() and _way_to_run(case.x, wanted) is _run_core):  # which rounds weights itself
        weights = [[weight.to(dtype) for weight in layer] for layer in weights]
    skips = {name: value.to(dtype) for name, value in stack.skips.items()}
    hx = None if case.hx is None else tuple([value.to(dtype) for value in case.hx])
    return stack._replace(weights=weights, skips=skips), case._replace(x=case.x.to(dtype), hx=hx)


def _run_layers(stack: Stack, case: Case, wanted: Wanted) -> tuple[Tensor, State, list[LayerResult]]:
    spec, x = stack.spec, case.x
    if case.lengths is not None:
        case = case._replace(lengths=case.lengths.to(x.device))
    run = _way_to_run(x, wanted) if stack.is_plain() else None
    results: list[LayerResult] = []
    for layer, first in enumerate(_state_of_each(stack, case, needed=run is not _run_core)):
        read = torch.nn.functional.dropout(x, stack.dropout, stack.training) if layer and stack.dropout else x
        read = drop_input(read, stack.rates.input_dropout)
        if run is None:
            results.append(_run_variant(stack, layer, case._replace(x=read), first, wanted))
        else:
            h, c = first
            results.append(run(Layer(read, h, c, stack.weights[layer], case.lengths, case.resets), wanted))
        x = pass_by(torch, spec, stack.skips, layer, x, results[-1].output)
    return x, join_states(torch, spec, [result.state for result in results]), results


def _state_of_each(stack: Stack, case: Case, *, needed: bool) -> Sequence[tuple[Any, ...]]:
    if case.hx is None and not needed:
        return [(None, None)] * len(stack.weights)
    return split_states(stack.spec, case.hx or zero_state(torch, stack.spec, case.x.shape[1], case.x))


def _run_variant(stack: Stack, layer: int, case: Case, state: State, wanted: Wanted) -> LayerResult:
    weights, ways = stack.weights[layer], Ways(wanted.engine, wanted.cells, wanted.gates)
    masks = draw_masks(stack.spec, stack.rates, layer, case.x) if stack.training else None
    if transforming():
        ways = ways._replace(engine="reference")
    if not (is_plain(case.x) or transforming()):
        return run_variant_op(stack.documents[layer], weights, case, state, masks, ways)
    return run_variant(stack.layers[layer], layer, weights, case, state, masks, ways)


def _way_to_run(x: Tensor, wanted: Wanted) -> Callable[[Layer, Wanted], LayerResult]:
    if transforming():
        return _run_reference
    return _run_core if wanted.engine == "native" and not wanted.checkpoint_steps and is_plain(x) else _run_op


def _run_core(layer: Layer, wanted: Wanted) -> LayerResult:
    """The engine ``native`` without an op, and without a state where there is none."""
    trace = wanted.cells or wanted.gates
    return _result(run_native_layer(*layer, trace=trace, gates_dtype=wanted.gates_dtype(layer.x)), wanted)


def _run_op(layer: Layer, wanted: Wanted) -> LayerResult:
    trace = wanted.engine != "torch" and (wanted.cells or wanted.gates or torch.is_grad_enabled())
    how = wanted.engine, trace, wanted.checkpoint_steps, wanted.gates_dtype(layer.x)
    return _result(lstm_layer(*layer, *how), wanted)


def _result(values: Sequence[Tensor], wanted: Wanted) -> LayerResult:
    output, h, c, *trace = values
    cells, gates = trace[0].to(output.dtype) if wanted.cells else None, trace[1] if wanted.gates else None
    return LayerResult(output, (h, c), cells, gates)


def _run_reference(layer: Layer, wanted: Wanted) -> LayerResult:
    return run_equations(layer, cells=wanted.cells, gates=wanted.gates)


def is_plain(x: Tensor) -> bool:
    """Whether nobody looks on: no compiler, tracer, dispatch mode or kind of tensor of its own; those need the op."""
    if torch.compiler.is_compiling() or exporting() or torch._C._len_torch_dispatch_stack():
        return False
    return type(x) is Tensor or type(x) is torch.nn.Parameter


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
