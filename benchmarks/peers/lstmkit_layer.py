"""Ours: ``lstmkit.nn.LSTM`` as it comes, on the engine that it chooses."""

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.peers import Prepared
from benchmarks.peers.tensors import load, prepare_tensors
from lstmkit import nn


def prepare(case: Case, data: Data) -> Prepared:
    """The layer; its note is the engine."""
    _, _, I, H = case.sizes  # noqa: E741
    layer = nn.LSTM(I, H, bidirectional=case.bidirectional, proj_size=case.projection)
    load(layer, case, data)

    def forward(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        if not case.trace:
            return layer(x, lengths=lengths)[0], {}
        output, _, trace = layer(x, lengths=lengths, return_cells=True, return_gates=True)
        gates = {f"gate {letter}": value for letter, value in trace.gates[0].items()}
        return output, {"cells": trace.cells[0], **gates}

    x = torch.empty(data.x.shape, dtype=getattr(torch, case.dtype))
    # Not explain_engine: the choice depends on the input's sizes.
    choice = layer._choose(x, lengths=case.uneven, return_cells=case.trace, return_gates=case.trace)
    return prepare_tensors(case, data, layer, forward, f"engine {choice.engine}")
