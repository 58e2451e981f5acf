"""A step of AdamW on the native core: one pass over weights, memory and averages, which also clips."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from lstmkit.ops import native_core
from lstmkit.ops.native_core import core, dense, native_available


class AdamwWeight(NamedTuple):
    """One weight, and what a step reads and writes beside it.

    Args:
        weight: float32, dense, on the CPU, as are the others.
        grad: None leaves the weight as it is; its average follows.
        mean: The optimizer's memory of the gradient; with ``square`` and ``steps`` where there is a gradient.
        square: Of its square.
        steps: How many were taken, a number that is counted on.
        average: An average of the weight that follows it, or None.
        decay: The part of the weight, times the rate, that is lost.
    """

    weight: Tensor
    grad: Tensor | None
    mean: Tensor | None
    square: Tensor | None
    steps: Tensor | None
    average: Tensor | None
    decay: float


class AdamwOptions(NamedTuple):
    """What all weights share; ``average_share`` is the part of the new weights in their average."""

    rate: float
    beta1: float
    beta2: float
    epsilon: float
    clip: float
    average_share: float


def can_step(weights: Iterable[Tensor]) -> bool:
    """Whether the core takes the steps of these weights, by their present gradients."""
    return native_available() and all(
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.is_contiguous()
        and (weight.grad is None or weight.grad.layout == torch.strided)
        for weight in weights
    )


def adamw(weights: Iterable[AdamwWeight], options: AdamwOptions, loss: float) -> bool:
    """Take a step, unless loss or gradient are not finite; whether it was taken. Averages follow in any case."""
    weights = [own._replace(grad=None if own.grad is None else dense(own.grad.contiguous())) for own in weights]
    rows = [(own.weight.numel(), *(0 if x is None else x.data_ptr() for x in own[:6]), own.decay) for own in weights]
    return core.adamw(rows, options, loss, torch.get_num_threads(), native_core.instruction_set)
