"""``torch.nn.LSTMCell`` in a Python loop: torch's way to every cell state. It does not give the gates."""

import torch
from torch import Tensor, nn

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.peers import Prepared
from benchmarks.peers.tensors import load, prepare_tensors


def prepare(case: Case, data: Data) -> Prepared:
    """The loop over time."""
    _, _, I, H = case.sizes  # noqa: E741
    cell = nn.LSTMCell(I, H)
    load(cell, case, data, renamed=lambda name: name.removesuffix("_l0"))

    def forward(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        state = x.new_zeros(x.shape[1], H), x.new_zeros(x.shape[1], H)
        states: list[tuple[Tensor, Tensor]] = []
        for step in x.unbind():
            state = cell(step, state)
            states.append(state)
        outputs, cells = zip(*states, strict=True)
        return torch.stack(outputs), {"cells": torch.stack(cells)}

    return prepare_tensors(case, data, cell, forward)
