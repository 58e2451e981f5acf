"""How the network learns: the loss, the schedule, and the calibration of its intervals. Needs torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstmkit.nn.stages import StagedModel

# Windows whose history hardly moves can be followed by anything; their answers are held within bounds.
_FARTHEST = 30.0
# Below so many windows, the calibration pools the steps of the horizon.
_WINDOWS_PER_STEP = 200


def quantile_loss(module: StagedModel, batch: Mapping[str, Tensor], levels: Tensor) -> Tensor:
    """Mean pinball loss in units of each window's scale; missing answers do not count.

    Source: Koenker & Bassett, Econometrica 46(1), 1978.
    """
    inputs = {name: tensor for name, tensor in batch.items() if name != "answer"}
    values = module(inputs)
    answer = (batch["answer"] - values["scaled.location"]) / values["scaled.scale"]
    present = torch.isfinite(answer)
    answer = torch.where(present, answer, 0.0).clamp(-_FARTHEST, _FARTHEST).float()
    error = answer[..., None] - values["quantiles"]
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(-1)
    return (loss * present).sum() / present.sum().clamp(min=1)


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
        coverage = levels[high] - levels[low]
        reach = _reach_per_step(excess, coverage)
        offsets[:, low], offsets[:, high] = -reach, reach
    return offsets


def _reach_per_step(excess: NDArray[Any], coverage: float) -> NDArray[Any]:
    """The conformal quantile of the excess: for each step, or for all steps where windows are few."""
    if len(excess) >= _WINDOWS_PER_STEP:
        return np.array([_conformal_quantile(column, coverage) for column in excess.T])
    return np.full(excess.shape[1], _conformal_quantile(excess.ravel(), coverage))


def _conformal_quantile(excess: NDArray[Any], coverage: float) -> float:
    present = np.sort(excess[np.isfinite(excess)])
    if not len(present):
        return 0.0
    rank = min(int(np.ceil((len(present) + 1) * coverage)), len(present))
    return float(present[rank - 1])
