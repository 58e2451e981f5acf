"""Embeddings under plain SGD: a step changes the rows that it read, and what comes out is what torch's loop gives."""

import pytest
import torch
from torch import Tensor, nn

from lstmkit.training import TrainingConfig, fit

OPTIONS = {"learning_rate": 0.3, "device": "cpu", "quiet": True, "schedule": "constant", "warmup_fraction": 0.0}


class Net(nn.Module):
    """Two tables, one of which is the head's weight too, and one that does not learn."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.read, self.frozen = nn.Embedding(30, 4, padding_idx=3), nn.Embedding(30, 4).requires_grad_(False)
        self.head = nn.Linear(4, 30)
        if tied:
            self.head.weight = self.read.weight

    def forward(self, tokens: Tensor) -> Tensor:
        scores = self.head(torch.tanh(self.read(tokens[:-1]) + self.frozen(tokens[:-1])))
        return nn.functional.cross_entropy(scores, tokens[1:])


def build(*, tied: bool) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Net(tied=tied)


BATCHES = [torch.tensor(each) for each in ([1, 5, 1, 1, 3, 8], [8, 2, 29], [0, 3, 3, 3])]


@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("tied", [False, True])
def test_fit__matches_plain_torch_loop(tied: bool, clip: float | None) -> None:
    ours, theirs = build(tied=tied), build(tied=tied)
    config = TrainingConfig(max_steps=9, optimizer="sgd", gradient_clip=clip, **OPTIONS)
    fit(ours, lambda epoch: BATCHES, loss=lambda module, batch: module(batch), config=config)
    optimizer = torch.optim.SGD([w for w in theirs.parameters() if w.requires_grad], lr=OPTIONS["learning_rate"])
    for batch in 3 * BATCHES:
        optimizer.zero_grad()
        theirs(batch).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), clip or float("inf"))
        optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert torch.equal(ours.read.weight[3], build(tied=tied).read.weight[3]) != tied  # only the head changes padding


@pytest.mark.parametrize(
    ("options", "sparse"),
    [({"optimizer": "sgd"}, True), ({"optimizer": "sgd", "weight_decay": 0.1}, False), ({"optimizer": "adamw"}, False)],
)
def test_gradient__equals_rows__where_the_optimizer_leaves_the_others(options: dict, sparse: bool) -> None:
    module, seen = build(tied=False), []
    module.read.weight.register_hook(lambda grad: seen.append(grad.is_sparse))
    fit(
        module,
        lambda epoch: BATCHES,
        loss=lambda module, batch: module(batch),
        config=TrainingConfig(max_steps=2, **options, **OPTIONS),
    )
    assert seen == 2 * [sparse]
    assert not module.read.sparse


def test_fit__preserves_embeddings__where_a_loss_fails() -> None:
    module, config = build(tied=False), TrainingConfig(max_steps=2, optimizer="sgd", **OPTIONS)
    with pytest.raises(ZeroDivisionError):
        fit(module, lambda epoch: BATCHES, loss=lambda module, batch: 1 / 0, config=config)
    assert not module.read.sparse


def test_fit__never_takes_a_step_that_is_not_finite() -> None:
    module, config = build(tied=False), TrainingConfig(max_steps=3, optimizer="sgd", **OPTIONS)
    factors = iter([1.0, float("nan"), 1.0])
    result = fit(module, lambda epoch: BATCHES, loss=lambda module, batch: module(batch) * next(factors), config=config)
    assert result.skipped_steps == 1
    assert module.read.weight.isfinite().all()
    # 2 and 29 were read in the step that was not taken.
    before = build(tied=False).read.weight
    assert torch.equal(module.read.weight[2], before[2])
    assert not torch.equal(module.read.weight[1], before[1])
