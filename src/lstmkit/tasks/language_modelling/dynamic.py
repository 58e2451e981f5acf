"""Dynamic evaluation: a model goes on learning from the text that it is scored on. Needs torch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.runtime import LMModel
from lstmkit.tasks.language_modelling.network import LanguageNetwork

_STEPS = 32
# The size of a step relative to each weight's usual gradient, and how fast weights go back to where they were.
_RATE, _RETURN = 5e-4, 2e-3
_FORGET, _FLOOR = 0.99, 1e-8


def dynamic_surprise(model: LMModel, tokens: Any, *, rate: float = _RATE, back: float = _RETURN) -> float:
    """Nats of a whole text, each stretch scored before it is learned from.

    Steps follow the gradient divided by the root of its running mean square, and weights are drawn back to the trained
    ones. Only the order of the text matters: nothing is known of it before it is scored.

    Args:
        model: The trained model; it stays as it is.
        tokens: ``(N,)``.
        rate: Size of a step.
        back: Part of the way back to the trained weights in each step.

    Source: Krause, Kahembwe, Murray & Renals (2018), Dynamic Evaluation of Neural Sequence Models, with the mean square
        of the text itself in the place of the training data's.
    """
    network = LanguageNetwork(list(model.stages), 1)
    network.model.load_arrays({f"{stage}.{name}": a for stage, own in model.weights.items() for name, a in own.items()})
    network.eval()
    learner = _Learner(network, rate, back)
    state: tuple[Tensor, ...] = (network.h, network.c)
    total = 0.0
    for start in range(0, len(tokens), _STEPS):
        before = model.text.line_end if start == 0 else int(tokens[start - 1])
        row = np.concatenate([[before], tokens[start : start + _STEPS]]).astype(np.int64)
        loss, state = network.loss(torch.from_numpy(row)[None], state)
        total += loss.item() * (len(row) - 1)
        loss.backward()
        learner.step()
    return total


class _Learner:
    def __init__(self, network: nn.Module, rate: float, back: float) -> None:
        self._weights = list(network.parameters())
        self._first = [weight.detach().clone() for weight in self._weights]
        self._squares = [torch.zeros_like(weight) for weight in self._weights]
        self._rate, self._back, self._steps = rate, back, 0

    @torch.no_grad()
    def step(self) -> None:
        self._steps += 1
        known = 1 - _FORGET**self._steps
        for weight, first, square in zip(self._weights, self._first, self._squares, strict=True):
            if weight.grad is None:
                continue
            square.lerp_(weight.grad.square(), 1 - _FORGET)
            weight.addcdiv_(weight.grad, (square / known).sqrt_().add_(_FLOOR), value=-self._rate)
            weight.lerp_(first, self._back)
            weight.grad = None
