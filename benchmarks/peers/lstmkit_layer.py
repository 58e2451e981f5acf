"""Ours: ``lstmkit.nn.LSTM`` as it comes, on the engine that it chooses."""

from torch import Tensor

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.peers import Prepared
from benchmarks.peers.tensors import load, prepare_tensors
from lstmkit import nn
from lstmkit.core import native_module
from lstmkit.ops import EngineRequest, choose_engine


def prepare(case: Case, data: Data) -> Prepared:
    """The layer; its note is the engine."""
    _, _, I, H = case.sizes  # noqa: E741
    layer = nn.LSTM(I, H, bidirectional=case.bidirectional, proj_size=case.projection, engine=case.engine)
    load(layer, case, data)

    def forward(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        if not case.trace:
            return layer(x, lengths=lengths)[0], {}
        output, _, trace = layer(x, lengths=lengths, return_cells=True, return_gates=True)
        gates = {f"gate {letter}": value for letter, value in trace.gates[0].items()}
        return output, {"cells": trace.cells[0], **gates}

    return prepare_tensors(case, data, layer, forward, f"engine {chosen_engine(case)}")


def chosen_engine(case: Case) -> str:
    """The engine that the layer runs this case on."""
    request = EngineRequest(
        dtype=case.dtype,
        lengths=case.uneven,
        cells=case.trace,
        gates=case.trace,
        native_available=native_module() is not None,
        sizes=case.sizes,
        gradients=case.task != "infer",
    )
    return choose_engine(request, case.engine).engine
