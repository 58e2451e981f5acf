"""An exponential moving average of the weights."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of the trained weights over the steps; buffers are not averaged.

    The decay grows as ``(1 + step) / (10 + step)`` up to the one given, so that a short run does not
    end at its initial weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        named = {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}
        self.decay = decay
        self._names = list(named)
        self._weights = list(named.values())
        self._averages = [weight.clone() for weight in self._weights]

    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    def swap(self) -> None:
        """Exchange the module's weights and the averages."""
        for weight, average in zip(self._weights, self._averages, strict=True):
            held = weight.clone()
            weight.copy_(average)
            average.copy_(held)

    def state(self) -> dict[str, Tensor]:
        """The averages by name."""
        return dict(zip(self._names, self._averages, strict=True))
