"""Ours: ``lstmkit.nn.LSTM``, or another cell, as it comes, on the engine that it chooses."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.peers import Prepared
from benchmarks.peers.tensors import load, prepare_tensors
from lstmkit import nn


def prepare(case: Case, data: Data) -> Prepared:
    """The layer; its note is the engine."""
    layer = nn.build(data.spec, engine=case.engine, **case.rates)
    load(layer, case, data)
    beside = {name: torch.from_numpy(value) for name, value in data.beside.items()}

    def forward(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        if not case.trace:
            return layer(x, lengths=lengths, **beside)[0], {}
        output, _, trace = layer(x, lengths=lengths, return_cells=True, return_gates=True)
        gates = {f"gate {letter}": value for letter, value in trace.gates[0].items()}
        return output, {"cells": trace.cells[0], **gates}

    prepared = prepare_tensors(case, data, layer, forward, f"engine {_engine_of(layer, case, data)}")
    # The first run is the one whose numbers are compared; to seed each would be timed.
    torch.manual_seed(0)
    return prepared


def _engine_of(layer: Any, case: Case, data: Data) -> str:
    x = torch.from_numpy(data.x).to(getattr(torch, case.dtype))
    wanted = {"lengths": case.uneven, "return_cells": case.trace, "return_gates": case.trace}
    with torch.set_grad_enabled(case.task != "infer"):
        return layer.explain_engine(x, **wanted).engine
