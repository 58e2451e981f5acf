"""The module's weights during a run: the trained ones, their average, and the best so far."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lstmkit.training.averaging import WeightAverage


class Weights:
    """Which weights are in the module, and which are set aside."""

    def __init__(self, module: nn.Module, averaging: float | str | None) -> None:
        self.module = module
        decay = None if isinstance(averaging, str) else averaging
        self.average = None if averaging is None else WeightAverage(module, decay)
        self.best: dict[str, Tensor] | None = None
        self._modes = [(part, part.training) for part in module.modules()]

    def tensors(self) -> dict[str, Tensor]:
        """The trained weights and the buffers by name, where they are."""
        return {name: value for name, value in self.module.state_dict().items() if isinstance(value, Tensor)}

    @contextmanager
    def to_validate(self) -> Iterator[None]:
        """For the length of a block the module is in evaluation mode, with the averages if there are any."""
        if self.average is not None:
            self.average.swap()
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.module.train()
            if self.average is not None:
                self.average.swap()

    def keep_best(self) -> None:
        """Set aside what is in the module now."""
        if self.best is None:
            self.best = {name: tensor.clone() for name, tensor in self.tensors().items()}
        else:
            self._copy(self.tensors(), self.best)

    def finish(self) -> None:
        """Leave in the module the best weights, or else the averages, or else the trained ones."""
        if self.best is not None:
            self._copy(self.best, self.tensors())
        elif self.average is not None:
            self.average.swap()

    def restore_modes(self) -> None:
        """Put every part back into the mode, training or evaluation, that it came in."""
        for part, training in self._modes:
            part.training = training

    def sections(self) -> dict[str, dict[str, Tensor]]:
        """All of them, for a checkpoint."""
        average = {} if self.average is None else self.average.state()
        return {"module": self.tensors(), "average": average, "best": self.best or {}}

    def load(self, sections: Mapping[str, Mapping[str, Tensor]]) -> None:
        """The inverse of :meth:`sections`."""
        self._copy(sections["module"], self.tensors())
        if self.average is not None:
            self._copy(sections["average"], self.average.state())
        if sections.get("best"):
            self.keep_best()
            self._copy(sections["best"], self.best or {})

    @staticmethod
    def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in target.items():
                if source[name].shape != tensor.shape:
                    raise ValueError(name)
                tensor.copy_(source[name])
