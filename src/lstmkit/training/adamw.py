"""A step of torch's AdamW in one pass of the native core: clipping, the step itself, and the averages behind it."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from lstmkit.ops import AdamwOptions, AdamwWeight, adamw, can_step
from lstmkit.training.averaging import Following


def can_step_at_once(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the core takes the steps of this optimizer's weights."""
    if not isinstance(optimizer, torch.optim.AdamW):
        return False
    return all(can_step(group["params"]) for group in optimizer.param_groups)


def step_at_once(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float, following: Following | None) -> Tensor:
    """Clip and take one step, unless loss or gradient are not finite; 1.0 if so, else 0.0.

    Args:
        optimizer: An AdamW of torch; its memory is kept as its own kernel keeps it.
        loss: Of this step.
        clip: The largest norm of all gradients together.
        following: Averages of the weights, which follow in any case.
    """
    following = following or Following({}, 0.0)
    group = optimizer.param_groups[0]
    beta1, beta2 = group["betas"]
    options = AdamwOptions(group["lr"], beta1, beta2, group["eps"], clip, following.share)
    is_taken = adamw(_weights(optimizer, following.averages), options, loss.item())
    return torch.tensor(0.0 if is_taken else 1.0)


def _weights(optimizer: torch.optim.Optimizer, averages: Mapping[nn.Parameter, Tensor]) -> Iterator[AdamwWeight]:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            average, decay = averages.get(weight), group["weight_decay"]
            if weight.grad is None:
                yield AdamwWeight(weight, None, None, None, None, average, decay)
                continue
            memory = _memory(optimizer, weight)
            yield AdamwWeight(
                weight, weight.grad, memory["exp_avg"], memory["exp_avg_sq"], memory["step"], average, decay
            )


def _memory(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> dict[str, Tensor]:
    """What the optimizer keeps of a weight's gradients, which begins at zero."""
    memory: dict[str, Tensor] = optimizer.state[weight]
    if not memory:
        memory.update(step=torch.zeros(()), exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
    return memory
