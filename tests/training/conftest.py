"""One hostile little problem: dropout, two directions, noise from three generators, batches of uneven size."""

import random
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

STEPS_PER_EPOCH = 5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.lstm = nn.LSTM(3, 5, num_layers=2, bidirectional=True, dropout=0.3, batch_first=True)
        self.head = nn.Linear(10, 2)
        self.tied = self.head
        self.frozen = nn.Parameter(torch.randn(4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return self.head(self.lstm(x)[0])


class Epoch:
    """Shuffled by torch's generator when made, disturbed by NumPy's and Python's in each batch."""

    def __init__(self, epoch: int) -> None:
        generator = torch.Generator().manual_seed(99)
        self.x = torch.randn(23, 7, 3, generator=generator)
        self.order = torch.randperm(23)
        self.y = torch.stack((self.x.cumsum(1).sum(-1), self.x[..., 0] + epoch), -1)

    def __len__(self) -> int:
        return STEPS_PER_EPOCH

    def __iter__(self) -> Iterator[dict[str, object]]:
        for rows in self.order.split(5):
            noise = np.random.standard_normal((len(rows), 7, 3)).astype(np.float32) * random.random() * 0.1
            yield {"x": [self.x[rows], noise], "y": (self.y[rows],), "name": "kept"}


def loss(module: nn.Module, batch: dict) -> Tensor:
    x, noise = batch["x"]
    return (module(x + noise) - batch["y"][0]).square().mean()


def validate(module: nn.Module) -> float:
    data = Epoch(0)
    return (module(data.x) - data.y).square().mean().item()


def build() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        net = Net()
        for weight in net.parameters():
            weight.data.normal_(std=0.3)
        return net


@pytest.fixture
def problem() -> SimpleNamespace:
    return SimpleNamespace(
        build=build, batches=Epoch, loss=loss, validate=validate, parts={"loss": loss, "validate": validate}
    )
