"""Trainings that may run in one process or in several: FOLDER. Each process writes what it ended with."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lstmkit.spec import LSTMKitError
from lstmkit.spec.processes import process_number
from lstmkit.training import TrainingConfig, fit

# On machines without a GPU nobody says so, as a user would not.
BASE = {"max_epochs": 3, "learning_rate": 0.03, "weight_decay": 0.1, "averaging": 0.9, "quiet": True}
BASE |= {"device": "cpu"} if torch.cuda.is_available() else {}


class Net(nn.Module):
    """One weight is used for some rows only, one by a method that is not ``forward``."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.head = nn.Linear(5, 2)
        self.rare = nn.Parameter(torch.randn(2, 2))
        self.last = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0])

    def finish(self, y: Tensor, lengths: Tensor) -> Tensor:
        long = (lengths > 6)[:, None, None]
        return self.last(torch.where(long, y @ self.rare, y) if long.any() else y)


class Carrying(nn.Module):
    """A sum over the batches so far for each of four rows, as a language model carries its state."""

    row_states = ("state",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 1))
        self.register_buffer("state", torch.zeros(4, 2))

    def forward(self, batch: dict) -> Tensor:
        before = self.state[batch["rows"]]
        self.state.zero_()
        self.state[batch["rows"]] = before + batch["x"]
        return (self.state[batch["rows"]].clone() @ self.weight - 1).square().mean()


def carry(checkpoint: Path, at: int = 0) -> nn.Module:
    """Train it; stop at some call."""
    calls, module = 0, Carrying()
    batches = [{"x": torch.randn(4, 2, generator=torch.Generator().manual_seed(k)) * 0.1} for k in range(4)]

    def loss(network: nn.Module, batch: dict) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGINT)
        return network(batch)

    config = TrainingConfig(**BASE | {"checkpoint": checkpoint, "max_epochs": 2})
    fit(module, lambda epoch: [batch | {"rows": torch.arange(4)} for batch in batches], loss=loss, config=config)
    return module


class Epoch:
    """Rows of uneven length in batches of uneven size, the last of one row; shuffled by both generators."""

    def __init__(self, epoch: int) -> None:
        generator = torch.Generator().manual_seed(99)
        self.x = torch.randn(21, 7, 3, generator=generator)
        self.y = torch.stack((self.x.cumsum(1).sum(-1), self.x[..., 0] + epoch), -1)
        self.lengths = torch.randint(1, 8, (21,), generator=generator)
        self.order = torch.randperm(21)[torch.from_numpy(np.random.permutation(21))]

    def __len__(self) -> int:
        return 5

    def __iter__(self):
        for rows in self.order.split(5):
            noise = np.random.standard_normal((len(rows), 7, 3)).astype(np.float32) * 0.1
            yield {"x": [self.x[rows], noise], "y": (self.y[rows],), "lengths": self.lengths[rows], "name": "kept"}


def errors(module: Net, batch: dict) -> Tensor:
    x, noise = batch["x"]
    return (module.finish(module(x + noise), batch["lengths"]) - batch["y"][0]).square()


def mean_loss(module: Net, batch: dict) -> Tensor:
    return errors(module, batch).mean()


def masked_loss(module: Net, batch: dict) -> tuple[Tensor, Tensor]:
    inside = (torch.arange(7) < batch["lengths"][:, None])[..., None]
    return (errors(module, batch) * inside).sum(), 2 * inside.sum()


def joint_loss(module: Net, batch: dict) -> list[tuple[Tensor, Tensor]]:
    """A second mean over some rows only, in some batches over none."""
    some = batch["lengths"] == 3
    return [masked_loss(module, batch), ((errors(module, batch).mean((1, 2)) * some).sum(), some.sum())]


def validate(module: Net) -> float:
    data = Epoch(0)
    return (module.finish(module(data.x), data.lengths) - data.y).square().mean().item()


def train(loss, validator=validate, **options) -> tuple[Net, dict]:
    torch.manual_seed(5 + process_number())
    if process_number():
        torch.randn(100)  # the main process's weights count, whatever another one began with
    else:
        torch.manual_seed(5)
    module = Net()
    result = fit(module, Epoch, loss=loss, validate=validator, config=TrainingConfig(**BASE | options))
    told = {"scores": [row.score for row in result.validations], "losses": [row.loss for row in result.validations]}
    return module, told | {"steps": result.steps, "stopped": result.stopped, "resumed_from": result.resumed_from}


def interrupting(at: int):
    calls = 0

    def press_or_loss(module: Net, batch: dict) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGINT)
        return masked_loss(module, batch)

    return press_or_loss


def dropped(seen: list) -> object:
    def loss(module: Net, batch: dict) -> Tensor:
        seen.append([torch.rand(()).item(), float(np.random.rand())])
        torch.rand(batch["lengths"].shape)  # an uneven draw must not part the processes
        return mean_loss(module, batch)

    return loss


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    told, tensors = {}, {}
    checkpoint = folder / "checkpoint"

    def note(name: str, outcome: tuple[Net, dict]) -> None:
        told[name] = outcome[1]
        tensors.update({f"{name}/{key}": value.clone() for key, value in outcome[0].state_dict().items()})

    note("mean", train(mean_loss))
    note("masked", train(masked_loss, log=folder / "log"))
    note("joint", train(joint_loss))
    # Unlike AdamW with its gradient clipped, this sees a gradient of the wrong size.
    note("plain", train(joint_loss, optimizer="sgd", gradient_clip=None, weight_decay=0.0))
    note("slow clock", train(masked_loss, time_limit=5 + 5 * process_number(), max_epochs=2))
    note("broken off", train(interrupting(8), checkpoint=checkpoint))
    told["left"] = checkpoint.exists()
    note("resumed", train(masked_loss, checkpoint=checkpoint))
    told["kept"] = checkpoint.exists()
    carry(checkpoint, at=3)
    tensors["carried/half"] = load_file(checkpoint)["module/state"].clone()
    tensors["carried/weight"] = carry(checkpoint).weight.detach().clone()
    tensors["carried/whole"] = carry(folder / "other").weight.detach().clone()
    numbers: list = []
    note("random", train(dropped(numbers)))
    told["numbers"] = numbers
    checkpoint.write_bytes(b"no checkpoint")
    try:
        train(masked_loss, checkpoint=checkpoint)
    except LSTMKitError as error:
        told["error"] = str(error)
    number = process_number()
    (folder / f"told{number}.json").write_text(json.dumps(told))
    save_file(tensors, folder / f"weights{number}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
