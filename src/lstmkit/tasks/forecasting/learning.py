"""How the network learns: the loss, the schedule, and the calibration of its intervals. Needs torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstmkit.tasks.forecasting.metrics import coverage

# Windows whose history hardly moves can be followed by anything; their answers are held within bounds.
_FARTHEST = 30.0
# Below so many windows, the calibration pools the steps of the horizon.
_WINDOWS_PER_STEP = 200


def quantile_loss(module: nn.Module, batch: Mapping[str, Tensor], levels: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the pinball losses in units of each window's scale, and the number of answers; missing ones do not count.

    Source: Koenker & Bassett, Econometrica 46(1), 1978.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "answer"}
    values = module(inputs)
    answer = (batch["answer"] - values["scaled.location"]) / values["scaled.scale"]
    present = torch.isfinite(answer)
    answer = torch.where(present, answer, 0.0).clamp(-_FARTHEST, _FARTHEST).float()
    levels = levels.to(answer.device)
    error = answer[..., None] - values["quantiles"]
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(-1)
    return (loss * present).sum(), present.sum()


def conformal_offsets(quantiles: NDArray[Any], answer: NDArray[Any], levels: tuple[float, ...]) -> NDArray[np.float32]:
    """What to add to each quantile so that every interval covers what it promises on held-out windows.

    Each pair of quantiles is moved apart, or together, by the same amount (conformalised quantile
    regression), so the centre of the forecast stays where it was learned.

    Shape:
        - quantiles: ``(B, H, Q)`` and answer: ``(B, H)``, in units of each window's scale; NaN where missing
        - result: ``(H, Q)``

    Source: Romano, Patterson & Candès, NeurIPS 2019.
    """
    offsets = np.zeros(quantiles.shape[1:], np.float32)
    for low in range(len(levels) // 2):
        high = len(levels) - 1 - low
        excess = np.maximum(quantiles[..., low] - answer, answer - quantiles[..., high])
        reach = _reach_per_step(excess, levels[high] - levels[low])
        offsets[:, low], offsets[:, high] = -reach, reach
    return offsets


def crossed_coverage(quantiles: NDArray[Any], answer: NDArray[Any], levels: tuple[float, ...]) -> dict[str, float]:
    """Part of the answers inside each interval when either half of the windows is calibrated on the other.

    On the windows of its own calibration an interval covers what it promises by construction, which proves nothing.

    Returns:
        Coverage of the interval in per cent -> part of the answers inside it, in per cent; NaN below two windows.
    """
    half = len(answer) // 2
    halves = slice(half), slice(half, None)
    shifted = np.full(quantiles.shape, np.nan)
    for judged, learned in (halves, halves[::-1]) if half else ():
        shifted[judged] = quantiles[judged] + conformal_offsets(quantiles[learned], answer[learned], levels)
    return {
        f"{100 * (levels[-1 - low] - levels[low]):g}": 100 * coverage(answer, shifted[..., low], shifted[..., -1 - low])
        for low in range(len(levels) // 2)
    }


def _reach_per_step(excess: NDArray[Any], part: float) -> NDArray[Any]:
    """The conformal quantile of the excess: for each step, or for all steps where windows are few."""
    if len(excess) >= _WINDOWS_PER_STEP:
        return np.array([_conformal_quantile(column, part) for column in excess.T])
    return np.full(excess.shape[1], _conformal_quantile(excess.ravel(), part))


def _conformal_quantile(excess: NDArray[Any], part: float) -> float:
    present = np.sort(excess[np.isfinite(excess)])
    if not len(present):
        return 0.0
    rank = min(int(np.ceil((len(present) + 1) * part)), len(present))
    return float(present[rank - 1])
