"""A step of torch's AdamW in one pass of the native core: clipping, the step itself, and the averages behind it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lstmkit.ops import AdamwOptions, AdamwWeight, adamw, can_step
from lstmkit.training.averaging import Following


def can_step_at_once(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the core takes the steps of this optimizer's weights."""
    return isinstance(optimizer, torch.optim.AdamW) and all(can_step(group["params"]) for group in optimizer.param_groups)


def step_at_once(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float, following: Following | None) -> Tensor:
    """Clip and take one step, unless loss or gradient are not finite; 1.0 if so, else 0.0.

    Args:
        optimizer: An AdamW of torch; its memory is kept as its own kernel keeps it.
        loss: Of this step.
        clip: The largest norm of all gradients together.
        following: Averages of the weights, which follow in any case.
    """
    averages, share = following or Following({}, 0.0)
    group = optimizer.param_groups[0]
    options = AdamwOptions(group["lr"], *group["betas"], group["eps"], clip, share)
    rows = list(_rows(optimizer, averages))
    return torch.tensor(0.0 if adamw(rows, options, loss.item()) else 1.0)


def _rows(optimizer: torch.optim.Optimizer, averages: Any) -> Iterator[AdamwWeight]:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            memory = _memory(optimizer, weight) if weight.grad is not None else (None, None, None, None)
            yield AdamwWeight(weight, *memory, averages.get(weight), group["weight_decay"])


def _memory(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> tuple[Tensor | None, ...]:
    """Its gradient and what the optimizer keeps of it, which begins at zero."""
    state: dict[str, Tensor] = optimizer.state[weight]
    if not state:
        state.update(step=torch.zeros(()), exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
    grad = None if weight.grad is None else weight.grad.contiguous()
    return grad, state["exp_avg"], state["exp_avg_sq"], state["step"]
