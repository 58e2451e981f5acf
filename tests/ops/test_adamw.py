"""The core's AdamW beside torch's own, in float64."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from lstmkit.core import native_status
from lstmkit.ops import AdamwOptions, AdamwWeight, adamw, can_step, native_available, native_core

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

SETS = [name for name in native_status().compiled if name in native_status().found]
SHAPES = [(150, 300), (7,), (1,), (3, 5, 17)]
DECAYS = [0.1, 0.0, 0.0, 0.3]


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    native_core.instruction_set = request.param
    yield request.param
    native_core.instruction_set = ""


class Model:
    """Weights with memory and averages for the core, and the same in float64 for torch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.weights = [torch.randn(shape) for shape in SHAPES]
        self.memory = [(torch.zeros_like(w), torch.zeros_like(w), torch.zeros(())) for w in self.weights]
        self.averages = [torch.randn_like(w) for w in self.weights]
        self.torch = [nn.Parameter(w.double()) for w in self.weights]
        groups = [{"params": [w], "weight_decay": decay} for w, decay in zip(self.torch, DECAYS, strict=True)]
        self.optimizer = torch.optim.AdamW(groups, lr=0.01, fused=False, foreach=False)

    def step(self, grads: list[Tensor | None], clip: float, loss: float = 1.0) -> bool:
        rows = [
            AdamwWeight(weight, grad, *memory, average, decay)
            for weight, grad, memory, average, decay in zip(
                self.weights, grads, self.memory, self.averages, DECAYS, strict=True
            )
        ]
        return adamw(rows, AdamwOptions(0.01, 0.9, 0.999, 1e-8, clip, 0.3), loss)

    def step_torch(self, grads: list[Tensor | None], clip: float) -> None:
        for weight, grad in zip(self.torch, grads, strict=True):
            weight.grad = None if grad is None else grad.double()
        nn.utils.clip_grad_norm_(self.torch, clip)
        self.optimizer.step()


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("clip", [0.5, 1e9, math.inf])
def test_steps__match_torch(clip: float) -> None:
    model = Model()
    averages = [average.double() for average in model.averages]
    for step in range(5):
        grads: list[Tensor | None] = [torch.randn_like(weight) * 10.0**-step for weight in model.weights]
        if step % 2:
            grads[1] = None
        assert model.step(grads, clip)
        model.step_torch(grads, clip)
        averages = [a + 0.3 * (w.detach() - a) for a, w in zip(averages, model.torch, strict=True)]
    for found, expected in zip((*model.weights, *model.averages), (*model.torch, *averages), strict=True):
        torch.testing.assert_close(found.double(), expected.detach(), rtol=1e-5, atol=1e-6)
    assert [memory[2].item() for memory in model.memory] == [5, 3, 5, 5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_step__preserves_weights__not_finite(bad: float) -> None:
    for in_loss in (True, False):
        model, grads = Model(), [torch.ones(shape) for shape in SHAPES]
        before = [value.clone() for value in (*model.weights, *model.averages)]
        if not in_loss:
            grads[0][3, 4] = bad
        assert not model.step(list(grads), 1.0, bad if in_loss else 1.0)
        assert all(torch.equal(left, right) for left, right in zip(model.weights, before, strict=False))
        torch.testing.assert_close(model.averages[0], torch.lerp(before[len(SHAPES)], before[0], 0.3))
        assert all(not value.any() for memory in model.memory for value in memory)


def test_step__equals_that_of_one_thread__several() -> None:
    before, models = torch.get_num_threads(), [Model(), Model()]
    try:
        for threads, model in zip((1, 3), models, strict=True):
            torch.set_num_threads(threads)
            model.step([torch.ones(shape) for shape in SHAPES], 1.0)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(left, right) for left, right in zip(models[0].weights, models[1].weights, strict=True))


def test_choice__rejects_what_core_does_not_know() -> None:
    assert can_step([torch.ones(3, 2), torch.ones(1)])
    assert not can_step([torch.ones(3), torch.ones(3, dtype=torch.float64)])
    assert not can_step([torch.ones(3, 2).T])
    table = nn.Embedding(3, 2, sparse=True)
    assert can_step([table.weight])
    table(torch.tensor([1])).sum().backward()
    assert not can_step([table.weight])
