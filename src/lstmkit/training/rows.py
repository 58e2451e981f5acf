"""Tables of which a step reads a few rows, where the optimizer leaves all others as they are: plain SGD on a CPU."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Tables:
    """The embeddings of a module, whose gradients are their rows alone until :meth:`release`."""

    def __init__(self, module: nn.Module) -> None:
        tables = [part for part in module.modules() if isinstance(part, nn.Embedding)]
        self._parts = [part for part in tables if not (part.sparse or part.scale_grad_by_freq)]
        for part in self._parts:
            part.sparse = True

    def release(self) -> None:
        """Make them as they were."""
        for part in self._parts:
            part.sparse = False


class Rows(NamedTuple):
    """The gradient of some rows of a weight."""

    weight: nn.Parameter
    numbers: Tensor
    values: Tensor

    def step(self, rate: float) -> None:
        """Take a step of SGD."""
        with torch.no_grad():
            self.weight.index_add_(0, self.numbers, self.values, alpha=-rate)


def gradient_rows(weights: Iterable[nn.Parameter]) -> list[Rows]:
    """The gradients that are rows, taken from their weights, so that an optimizer does not see them."""
    taken: list[Rows] = []
    for weight in weights:
        if weight.grad is not None and weight.grad.is_sparse:
            grad = weight.grad.coalesce()
            taken.append(Rows(weight, grad.indices()[0], grad.values()))
            weight.grad = None
    return taken
