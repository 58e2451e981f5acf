import math
import random
from collections import namedtuple
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lstmkit.spec import DataError, LSTMKitError, OptionError
from lstmkit.training import TrainingConfig, fit
from lstmkit.training.schedule import learning_rate

BASE = {"learning_rate": 0.03, "device": "cpu", "quiet": True}


def by_hand(
    problem: SimpleNamespace,
    steps: int,
    *,
    decay: float = 0.0,
    clip: float = 1.0,
    average: float = 0.0,
    kind: type[torch.optim.Optimizer] = torch.optim.AdamW,
):
    """The plain torch loop, with the unfused optimizer: what fit must amount to."""
    module = problem.build()
    config = TrainingConfig(**BASE, max_steps=steps)
    matrices = [w for w in module.parameters() if w.requires_grad and w.ndim >= 2]
    vectors = [w for w in module.parameters() if w.requires_grad and w.ndim < 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = kind(groups, lr=1.0, foreach=False, fused=False)
    averages = [w.detach().clone() for w in matrices + vectors]
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    step = 0
    while step < steps:
        for batch in problem.batches(step // 5):
            batch["x"][1] = torch.as_tensor(batch["x"][1])
            optimizer.zero_grad()
            problem.loss(module, batch).backward()
            nn.utils.clip_grad_norm_(module.parameters(), clip)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, (step + 0.5) / steps)
            optimizer.step()
            step += 1
            now = min(average, (1 + step) / (10 + step))
            averages = [now * a + (1 - now) * w.detach() for a, w in zip(averages, matrices + vectors, strict=True)]
            if step == steps:
                break
    if average:
        for weight, value in zip(matrices + vectors, averages, strict=True):
            weight.data.copy_(value)
    return module


@pytest.fixture
def states():
    """The random states before a test; a later call must find them unchanged."""
    return lambda: (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())


@pytest.mark.parametrize(
    ("hand", "options"),
    [
        ({}, {}),
        ({"decay": 0.3, "clip": 0.1}, {"weight_decay": 0.3, "gradient_clip": 0.1}),
        ({"clip": 1e9, "average": 0.8}, {"gradient_clip": None, "averaging": 0.8}),
        ({"kind": torch.optim.SGD, "decay": 0.3}, {"optimizer": "sgd", "weight_decay": 0.3}),
        ({"average": 1.0}, {"averaging": 1}),
    ],
)
def test_fit__matches_plain_torch_loop(problem, hand, options) -> None:
    expected, module = by_hand(problem, 12, **hand), problem.build()
    result = fit(module, problem.batches, loss=problem.loss, config=TrainingConfig(**BASE, max_steps=12, **options))
    assert (result.steps, result.epochs, result.stopped) == (12, 2, "steps")
    start = problem.build().state_dict()
    for (name, got), want in zip(module.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
        assert name == "frozen" or not torch.equal(got, start[name]), name


def test_fit__matches_plain_torch_loop__without_core(problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstmkit.training.machine.can_step_at_once", lambda optimizer: False)
    expected, module = by_hand(problem, 12, decay=0.3, average=0.8), problem.build()
    config = TrainingConfig(**BASE, max_steps=12, weight_decay=0.3, averaging=0.8)
    fit(module, problem.batches, loss=problem.loss, config=config)
    for (name, got), want in zip(module.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_fit__equals_itself__same_seed(problem) -> None:
    modules = [problem.build() for _ in range(3)]
    for module, seed in zip(modules, (3, 3, 4), strict=True):
        torch.rand(5)  # the state outside must not matter
        fit(module, problem.batches, loss=problem.loss, config=TrainingConfig(**BASE, max_steps=7, seed=seed))
    weights = [module.head.weight for module in modules]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_fit__never_changes_global_state(problem, states) -> None:
    torch.manual_seed(5)
    before, threads, modules = states(), torch.get_num_threads(), problem.build()
    modules.norm.eval()
    fit(modules, problem.batches, **problem.parts, config=TrainingConfig(**BASE, max_epochs=2, mixed_precision="bf16"))
    assert states() == before
    assert torch.get_num_threads() == threads
    assert modules.training
    assert not modules.norm.training
    assert torch.is_grad_enabled()
    assert not {"forward", "_original_forward"} & set(vars(modules))


def test_fit__equals_best_validated_weights__patience(problem) -> None:
    scores = iter([5.0, 3.0, math.nan, 4.0, math.inf, 3.0])
    seen = []

    def validate(module) -> float:
        assert not module.training
        assert not torch.is_grad_enabled()
        seen.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        return next(scores)

    config = TrainingConfig(**BASE, max_epochs=50, patience=4, averaging=0.9)
    module = problem.build()
    result = fit(module, problem.batches, loss=problem.loss, validate=validate, config=config)
    assert (result.stopped, result.epochs, result.best_score, result.best_step) == ("patience", 6, 3.0, 10)
    assert [row.step for row in result.validations] == [5, 10, 15, 20, 25, 30]
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, seen[1][name]), name
    assert not torch.equal(seen[0]["norm.running_mean"], seen[1]["norm.running_mean"])


def test_fit__never_ends_unvalidated(problem) -> None:
    config = TrainingConfig(**BASE, max_steps=8, validate_every=3)
    result = fit(problem.build(), problem.batches, **problem.parts, config=config)
    assert [row.step for row in result.validations] == [3, 6, 8]
    assert result.loss == pytest.approx(result.validations[-1].loss)


def test_fit__learns_a_sum() -> None:
    torch.manual_seed(1)
    x = torch.rand(96, 6, 1)
    y = x.sum(1)

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(1, 16, batch_first=True)
            self.head = nn.Linear(16, 1)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    def loss(module, batch):
        return (module(batch[0]) - batch[1]).square().mean()

    module = Sum()
    config = TrainingConfig(max_steps=400, learning_rate=0.02, schedule="one_cycle", quiet=True, device="cpu")
    fit(module, lambda epoch: [(x[i::4], y[i::4]) for i in range(4)], loss=loss, config=config)
    assert loss(module, (x, y)) < 0.01 * y.var()


@pytest.mark.parametrize("where", ["loss-and-gradient", "loss", "gradient"])
def test_fit__never_takes_a_step_that_is_not_finite(problem, where) -> None:
    batches, calls = [4, 7, 8], 0

    def loss(module, batch):
        nonlocal calls
        calls += 1
        value = problem.loss(module, batch)
        if calls not in batches:
            return value
        if where == "gradient":
            bias = module.head.bias
            return value + (bias - bias.detach()).sqrt().sum()
        return value + math.inf if where == "loss" else value * math.inf

    seen = []

    def validate(module) -> float:
        seen.append(module.lstm.weight_hh_l1.clone())
        return problem.validate(module)

    config = TrainingConfig(**BASE, max_steps=12, validate_every=1)
    result = fit(problem.build(), problem.batches, loss=loss, validate=validate, config=config)
    assert result.skipped_steps == 3
    same = [step + 2 for step, (a, b) in enumerate(pairwise(seen)) if torch.equal(a, b)]
    assert same == batches
    assert [math.isnan(row.loss) for row in result.validations] == [step in batches for step in range(1, 13)]


def test_fit__rejects_a_loss_that_stays_nan(problem) -> None:
    calls = 0

    def loss(module, batch):
        nonlocal calls
        calls += 1
        return problem.loss(module, batch) * (math.nan if calls > 20 else 1.0)

    module = problem.build()
    message = r"not finite in 30 steps in a row, up to step 50 \(learning rate .*lower learning_rate"
    with pytest.raises(LSTMKitError, match=message):
        fit(module, problem.batches, loss=loss, config=TrainingConfig(**BASE, max_steps=200))
    assert calls == 50
    assert all(weight.isfinite().all() for weight in module.parameters())


def test_fit__rejects_a_run_without_a_finite_step(problem) -> None:
    config = TrainingConfig(**BASE, max_steps=3)
    with pytest.raises(LSTMKitError, match="not finite in 3 steps in a row"):
        fit(problem.build(), problem.batches, loss=lambda m, b: problem.loss(m, b) * math.nan, config=config)


def test_fit__rejects_scores_that_are_never_finite(problem) -> None:
    config = TrainingConfig(**BASE, max_epochs=2)
    with pytest.raises(LSTMKitError, match=r"no validation gave a finite score \(the last one: nan\)"):
        fit(problem.build(), problem.batches, loss=problem.loss, validate=lambda m: math.nan, config=config)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda m, b: m(b["x"][0]), r"not a tensor of shape \(5, 7, 2\)"),
        (lambda m, b: m(b["x"][0]).mean().detach(), "not a tensor of shape .* without a gradient"),
        (lambda m, b: 1.0, "not 'float'"),
    ],
)
def test_fit__rejects_a_loss_that_is_none(problem, loss, message) -> None:
    with pytest.raises(OptionError, match=message):
        fit(problem.build(), problem.batches, loss=loss, config=TrainingConfig(**BASE, max_steps=1))


def test_fit__rejects_what_cannot_be_trained(problem) -> None:
    config = TrainingConfig(**BASE, max_steps=1)
    with pytest.raises(OptionError, match="has a length"):
        fit(problem.build(), lambda epoch: iter(problem.batches(epoch)), loss=problem.loss, config=config)
    with pytest.raises(DataError, match="an epoch has no batches"):
        fit(problem.build(), lambda epoch: [], loss=problem.loss, config=config)
    with pytest.raises(OptionError, match="no weights to train"):
        fit(nn.ReLU(), problem.batches, loss=problem.loss, config=config)
    with pytest.raises(OptionError, match="validate must return a number, not 'str'"):
        fit(problem.build(), problem.batches, loss=problem.loss, validate=lambda m: "good", config=config)


def test_fit__rejects_epochs_that_come_to_nothing(problem) -> None:
    class Liar(list):
        def __len__(self) -> int:
            return 3

    with pytest.raises(DataError, match="epoch 0 gave no batches"):
        fit(problem.build(), lambda epoch: Liar(), loss=problem.loss, config=TrainingConfig(**BASE, max_steps=1))


def test_fit__never_exceeds_its_time(problem) -> None:
    config = TrainingConfig(**BASE, time_limit=0.01, schedule="cosine")
    result = fit(problem.build(), problem.batches, **problem.parts, config=config)
    assert result.stopped == "time"
    assert 0.6 <= result.seconds < 5
    assert result.validations[-1].step == result.steps
    assert result.validations[-1].learning_rate < 0.03 / 4


def test_batch__preserves_its_nesting(problem) -> None:
    Pair = namedtuple("Pair", "left right")
    kinds = []

    def loss(module, batch):
        kinds.append(batch)
        return module(batch["pair"].left).mean()

    batch = {"pair": Pair(np.zeros((2, 7, 3), np.float32), [torch.ones(2), None]), "text": "a", "count": 3}
    fit(problem.build(), lambda epoch: [batch], loss=loss, config=TrainingConfig(**BASE, max_steps=1))
    (got,) = kinds
    assert isinstance(got["pair"], Pair)
    assert isinstance(got["pair"].left, torch.Tensor)
    assert got["pair"].right[1] is None
    assert (got["text"], got["count"]) == ("a", 3)


def test_triggered_averaging__equals_the_mean_from_the_trigger_on(problem) -> None:
    """The eighth validation is the first that is worse than one more than five before it."""
    scores = iter([1.0, 2.0, 0.9, 0.8, 0.7, 0.7, 0.9, 1.5, 3.0, 0.1])
    seen, kept = [], {}

    def validate(module: nn.Module) -> float:
        kept[len(kept)] = module.head.weight.clone()
        return next(scores)

    def loss(module: nn.Module, batch: dict) -> torch.Tensor:
        seen.append(module.head.weight.detach().clone())
        return problem.loss(module, batch)

    module = problem.build()
    config = TrainingConfig(**BASE, max_steps=20, validate_every=2, averaging="triggered", optimizer="sgd")
    fit(module, problem.batches, loss=loss, validate=validate, config=config)
    # seen[k] are the weights after k steps; validation n stands behind step 2 (n + 1).
    for number in range(8):
        assert torch.equal(kept[number], seen[2 * (number + 1)]), number
    torch.testing.assert_close(kept[8], torch.stack(seen[17:19]).mean(0), rtol=1e-6, atol=1e-7)
    assert torch.equal(module.head.weight, kept[9])
    assert not torch.equal(kept[8], seen[18])
