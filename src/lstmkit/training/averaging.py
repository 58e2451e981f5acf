"""Averages of the weights over the steps."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Validations that a better one must lie behind before the averaging is triggered.
_PATIENCE = 5


class Following(NamedTuple):
    """Averages that are about to take in weights, by these.

    Args:
        averages: Weight -> average.
        share: Of the weights in their new average.
    """

    averages: Mapping[nn.Parameter, Tensor]
    share: float

    def take_in(self) -> None:
        """Do it."""
        with torch.no_grad():
            averages, weights = list(self.averages.values()), list(self.averages)
            torch._foreach_lerp_(averages, weights, self.share)  # pyright: ignore


class WeightAverage:
    """The average of the trained weights over the steps; buffers are not averaged.

    Args:
        module: Whose weights.
        decay: Of an exponential average; it grows as ``(1 + step) / (10 + step)`` up to this, so that a short run does
            not end at its initial weights. None is the plain mean from the step on at which it is triggered; until
            then the average is the last weights.
    """

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        named = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self.decay = decay
        self._names = list(named)
        self._averages = {weight: weight.detach().clone() for weight in named.values()}

    def following(self, step: int, since: int | None) -> Following:
        """How they take in the weights after ``step`` steps; a plain mean was triggered after ``since``, or not yet."""
        if self.decay is None:
            return Following(self._averages, 1.0 if since is None else 1 / (step - since))
        return Following(self._averages, 1 - min(self.decay, (1 + step) / (10 + step)))

    def swap(self) -> None:
        """Exchange the module's weights and the averages."""
        for weight, average in self._averages.items():
            held = weight.detach().clone()
            weight.detach().copy_(average)
            average.copy_(held)

    def state(self) -> dict[str, Tensor]:
        """The averages by name."""
        return dict(zip(self._names, self._averages.values(), strict=True))


def triggers(scores: list[float]) -> bool:
    """Whether the last validation was no better than one more than five before it.

    Source: Merity, Keskar & Socher (2017), algorithm 1.

    Example:
        >>> triggers([3.0, 2.0, 1.0, 0.9, 0.8, 0.7, 0.6]), triggers([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
        (False, True)
    """
    return scores[-1] > min(scores[: -_PATIENCE - 1], default=float("inf"))
