"""``torch.nn.LSTM`` or ``GRU``: oneDNN where it can, ATen's steps otherwise."""

import warnings

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.peers import Prepared
from benchmarks.peers.tensors import load, prepare_tensors


def prepare(case: Case, data: Data) -> Prepared:
    """The layer; uneven rows come padded and are packed and unpacked, as in a model."""
    _, _, I, H = case.sizes  # noqa: E741
    if data.spec.cell == "gru":
        layer = nn.GRU(I, H, bidirectional=case.bidirectional)
    else:
        layer = nn.LSTM(I, H, bidirectional=case.bidirectional, proj_size=case.projection)
    load(layer, case, data)
    warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")

    def forward(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        if lengths is None:
            return layer(x)[0], {}
        packed, _ = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(packed, total_length=x.shape[0])[0], {}

    return prepare_tensors(case, data, layer, forward)
