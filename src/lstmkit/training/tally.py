"""Losses and skipped steps, left on the device until somebody asks, so that no step waits for them."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor


@dataclass
class Counts:
    """What is known of the steps so far.

    Args:
        loss: Sum over the steps taken since the last reset.
        steps: Their number.
        streak: Steps skipped in a row up to now.
        skipped: Steps skipped in all.
    """

    loss: float = 0.0
    steps: int = 0
    streak: int = 0
    skipped: int = 0

    def add(self, loss: float, skipped: float) -> None:
        """Count one step."""
        if skipped:
            self.streak += 1
            self.skipped += 1
        else:
            self.loss += loss
            self.steps += 1
            self.streak = 0


class Tally:
    """Keeps what :meth:`add` is given as it is; :meth:`counts` fetches and sums it in one transfer."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._losses: list[Tensor] = []
        self._skipped: list[Tensor] = []

    def add(self, loss: Tensor, skipped: Tensor) -> None:
        """Count one step; ``skipped`` is 1.0 where loss or gradient were not finite, else 0.0."""
        self._losses.append(loss.detach())
        self._skipped.append(skipped)

    def counts(self) -> Counts:
        """The counts up to now."""
        if self._losses:
            rows = torch.stack((torch.stack(self._losses).float(), torch.stack(self._skipped)))
            for loss, skipped in zip(*rows.tolist(), strict=True):
                self._counts.add(loss, skipped)
            self._losses.clear()
            self._skipped.clear()
        return self._counts

    def mean_loss(self) -> float:
        """Mean loss of the steps taken since the last reset; NaN if there is none."""
        counts = self.counts()
        return counts.loss / counts.steps if counts.steps else float("nan")

    def reset_loss(self) -> None:
        """Begin a new mean."""
        counts = self.counts()
        counts.loss, counts.steps = 0.0, 0

    def to_document(self) -> dict[str, float]:
        """The counts as JSON can hold them."""
        return asdict(self.counts())

    def load(self, document: dict[str, float]) -> None:
        """The inverse of :meth:`to_document`."""
        self._counts = Counts(**document)  # pyright: ignore[reportArgumentType]
