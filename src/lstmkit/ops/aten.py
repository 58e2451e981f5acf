"""The engine ``torch``: ATen's LSTM, on GPUs with cuDNN."""

import warnings
from functools import cache
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

# Weights here stay ordinary tensors, so cuDNN copies them into one block at each call; the warning
# advises flatten_parameters, which would take that freedom away.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


class AtenOptions(NamedTuple):
    """What ATen needs to know beside tensors."""

    num_layers: int
    bias: bool
    bidirectional: bool
    projection: bool
    dropout: float = 0.0
    training: bool = False


def run_aten(
    x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor], options: AtenOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a whole stack over equally long rows ``x (T, B, I)``."""
    o = options
    if o.projection:
        _silence_projection()
    return torch.lstm(  # pyright: ignore
        x, (h, c), weights, o.bias, o.num_layers, o.dropout, o.training, o.bidirectional, False
    )


def run_aten_packed(
    packed: PackedSequence, h: Tensor, c: Tensor, weights: list[Tensor], options: AtenOptions
) -> tuple[PackedSequence, Tensor, Tensor]:
    """Run a stack over a PackedSequence; the states are in the order of the unpacked batch."""
    if packed.sorted_indices is not None:
        h, c = h.index_select(1, packed.sorted_indices), c.index_select(1, packed.sorted_indices)
    o = options
    if o.projection:
        _silence_projection()
    data, h, c = torch.lstm(  # pyright: ignore
        packed.data, packed.batch_sizes, (h, c), weights, o.bias, o.num_layers, o.dropout, o.training, o.bidirectional
    )
    if packed.unsorted_indices is not None:
        h, c = h.index_select(1, packed.unsorted_indices), c.index_select(1, packed.unsorted_indices)
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), h, c


def run_aten_lengths(
    x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor], lengths: Tensor, options: AtenOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a stack over padded rows ``x (T, B, I)`` of ``lengths (B,)``; the output is zero beyond a length."""
    if x.shape[1] == 0:
        return run_aten(x, h, c, weights, options)
    packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
    packed, h, c = run_aten_packed(packed, h, c, weights, options)
    output, _ = pad_packed_sequence(packed, total_length=x.shape[0])
    return cast(Tensor, output), h, c


@cache
def _silence_projection() -> None:
    """Let ATen say once, unheard, that oneDNN has no projections: it is no news to a caller."""
    shapes = [(8, 1), (8, 1), (8,), (8,), (1, 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = AtenOptions(1, bias=True, bidirectional=False, projection=False)
        run_aten(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1, 1, 2), [*map(torch.zeros, shapes)], run)
