"""One time-major batch through a stack, by the engine that was chosen."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmkit.nn.arrange import Case, State, autocast_dtype
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

    def gates_dtype(self, x: Tensor) -> torch.dtype | None:
        """What the gates are kept in, if not in the type of ``x``; those that are given back are not rounded."""
        rounded = self.engine == "native" and x.dtype == torch.float32 and not (self.cells or self.gates)
        return self.saved_dtype if rounded else None


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
    x, hx = case.x, case.hx
    lengths = None if case.lengths is None else case.lengths.to(x.device)
    run = _way_to_run(x, wanted)
    if hx is None and run is not _run_core:
        hx = _zero_state(stack, x, x.shape[1])
    results: list[LayerResult] = []
    for weights, (h, c) in zip(stack.weights, _state_of_each(stack, hx), strict=True):
        if results and stack.dropout:
            x = torch.nn.functional.dropout(x, stack.dropout, stack.training)
        results.append(run(Layer(x, h, c, weights, lengths, case.resets), wanted))
        x = results[-1].output
    if len(results) == 1:
        h, c = results[0].state
    else:
        h, c = map(torch.cat, zip(*(r.state for r in results), strict=True))
    return x, h, c, results


def _state_of_each(stack: Stack, hx: State | None) -> Sequence[tuple[Any, Any]]:
    if hx is None or len(stack.weights) == 1:
        return [hx or (None, None)] * len(stack.weights)
    h, c = (value.split(stack.spec.num_directions) for value in hx)
    return [*zip(h, c, strict=True)]


def _way_to_run(x: Tensor, wanted: Wanted) -> Callable[[Layer, Wanted], LayerResult]:
    if transforming():
        return _run_reference
    return _run_core if wanted.engine == "native" and not wanted.checkpoint_steps and _is_plain(x) else _run_op


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


def _is_plain(x: Tensor) -> bool:
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
