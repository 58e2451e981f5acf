"""The engine ``torch`` for RNN and GRU: ATen, on GPUs with cuDNN."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmkit.ops.aten import AtenOptions
from lstmkit.spec import CellSpec


def aten_options(spec: CellSpec, num_layers: int, dropout: float = 0.0, training: bool = False) -> AtenOptions:
    """What ATen needs to know of a stack, or of one layer of it."""
    return AtenOptions(num_layers, spec.bias, spec.bidirectional, False, dropout, training)


def run_aten_stack(
    spec: CellSpec, x: Tensor, h: Tensor, weights: Sequence[Tensor], lengths: Tensor | None, options: AtenOptions
) -> tuple[Tensor, Tensor]:
    """Output and last state of RNNs or GRUs over ``x (T, B, I)``; the output is zero beyond a length."""
    if lengths is None or x.shape[1] == 0:
        o = options
        return _function(spec)(x, h, [*weights], o.bias, o.num_layers, o.dropout, o.training, o.bidirectional, False)
    packed, h = run_aten_stack_packed(
        spec, pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False), h, weights, options
    )
    return cast(Tensor, pad_packed_sequence(packed, total_length=x.shape[0])[0]), h


def run_aten_stack_packed(
    spec: CellSpec, packed: PackedSequence, h: Tensor, weights: Sequence[Tensor], options: AtenOptions
) -> tuple[PackedSequence, Tensor]:
    """The same for a PackedSequence; the states are in the order of the unpacked batch."""
    o = options
    h = h if packed.sorted_indices is None else h.index_select(1, packed.sorted_indices)
    data, h = _function(spec)(
        packed.data, packed.batch_sizes, h, [*weights], o.bias, o.num_layers, o.dropout, o.training, o.bidirectional
    )
    h = h if packed.unsorted_indices is None else h.index_select(1, packed.unsorted_indices)
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), h


def _function(spec: CellSpec) -> Callable[..., Any]:
    if spec.cell == "gru":
        return torch.gru  # pyright: ignore
    return torch.rnn_tanh if spec.nonlinearity == "tanh" else torch.rnn_relu  # pyright: ignore
