"""Loss and skipped steps, counted on the device so that no step waits for it."""

import torch
from torch import Tensor


class Tally:
    """Sums that :meth:`add` changes without a transfer; the properties fetch them."""

    def __init__(self, device: torch.device) -> None:
        # loss since the last reading, steps in it, skipped steps in a row, skipped steps in all
        self.counts = torch.zeros(4, dtype=torch.float32, device=device)
        self._one = torch.ones((), dtype=torch.float32, device=device)

    def add(self, loss: Tensor, skipped: Tensor) -> None:
        """Count one step; ``skipped`` is 1.0 where loss or gradient were not finite, else 0.0."""
        taken = self._one - skipped
        self.counts += torch.stack((loss.detach().nan_to_num(0.0, 0.0, 0.0) * taken, taken, self._one, skipped))
        self.counts[2] *= skipped

    def mean_loss(self) -> float:
        """Mean loss of the steps taken since the last reset; NaN if there is none."""
        total, steps = self.counts[:2].tolist()
        return total / steps if steps else float("nan")

    def reset_loss(self) -> None:
        """Begin a new mean."""
        self.counts[:2] = 0

    @property
    def steps(self) -> int:
        """Steps taken since the last reset."""
        return int(self.counts[1].item())

    @property
    def streak(self) -> int:
        """Steps skipped in a row up to now."""
        return int(self.counts[2].item())

    @property
    def skipped(self) -> int:
        """Steps skipped in all."""
        return int(self.counts[3].item())
