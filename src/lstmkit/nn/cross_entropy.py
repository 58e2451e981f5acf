"""The last layer of a language model and its loss in one: on the native core, or else a few rows at a time."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lstmkit.nn.arrange import autocast_dtype
from lstmkit.ops import has_native_loss, run_native_loss
from lstmkit.spec import DataError, ShapeError

# Scores of so many pairs of a row and a class are worked on together, so that they stay in the cache.
_TOGETHER = 2**21


def linear_cross_entropy(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of ``softmax(x W' + b)``, which is never held in full precision for all rows.

    On a CPU the native core forms tiles of scores, which become shares of the softmax before they leave the cache.
    Elsewhere the gradients are computed beside the loss, so scores are touched once. Under autocast the products are
    those of its dtype; loss and gradients stay float32.

    Args:
        x: What the network says at every place.
        weight: Of the last layer, or of the embedding it is tied to.
        bias: Of the last layer.
        targets: The class of every place.

    Shape:
        - x: ``(N, F)``; weight: ``(C, F)``; bias: ``(C,)``; targets: ``(N,)`` whole numbers; result: scalar

    Units:
        nats per place.

    Raises:
        ShapeError: the shapes do not fit each other, or targets are no whole numbers.
        DataError: a target on a CPU is not in 0..C; none is left out.

    Example:
        >>> x, weight, bias = torch.zeros(5, 3), torch.zeros(4, 3), torch.zeros(4)
        >>> bool(linear_cross_entropy(x, weight, bias, torch.arange(5) % 4).exp().isclose(torch.tensor(4.0)))
        True
    """
    fits = x.dim() == weight.dim() == 2 and x.shape[1] == weight.shape[1] and bias.shape == weight.shape[:1]
    if not fits or targets.shape != x.shape[:1]:
        shapes = ", ".join(str(tuple(each.shape)) for each in (x, weight, bias, targets))
        raise ShapeError(f"expected x (N, F), weight (C, F), bias (C,) and targets (N,), got {shapes}")
    _check_targets(targets, len(weight))
    dtype = autocast_dtype(x) or x.dtype
    if has_native_loss(x, weight, bias, dtype):
        return run_native_loss(x, weight, bias, targets, dtype).mean()
    with torch.autocast(x.device.type, enabled=False):
        if torch.is_grad_enabled() and any(each.requires_grad for each in (x, weight, bias)):
            return _LinearCrossEntropy.apply(x, weight, bias, targets, dtype)  # pyright: ignore
        return _Parts(x, weight, bias, targets, dtype).loss()


def _check_targets(targets: Tensor, classes: int) -> None:
    """A GPU is not asked: it would have to be waited for, and it looks at targets itself."""
    if targets.dtype != torch.int64:
        raise ShapeError(f"expected targets of torch.int64, got {targets.dtype}")
    if targets.device.type == "cpu" and len(targets):
        least, most = (int(each) for each in targets.aminmax())
        if least < 0 or most >= classes:
            raise DataError(f"expected targets in 0..{classes - 1}, got some from {least} to {most}")


class _Parts:
    """The rows in parts that fit the cache."""

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> None:
        self.x, self.weight, self.bias = (each.detach().to(dtype) for each in (x, weight, bias))
        self.targets = targets[:, None]
        rows = max(1, _TOGETHER // len(weight))
        self.slices = [slice(start, start + rows) for start in range(0, len(x), rows)]

    def scores(self, part: slice) -> Tensor:
        return torch.addmm(self.bias, self.x[part], self.weight.T)

    def loss(self) -> Tensor:
        total = sum(_surprise(self.scores(part), self.targets[part]) for part in self.slices)
        return torch.as_tensor(total / len(self.x))

    def loss_and_gradients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss, and the gradients of x, weight and bias."""
        total, count = self.x.new_zeros((), dtype=_wide(self.x)), len(self.x)
        shares = self.x.new_empty(count, len(self.weight))
        for part in self.slices:
            scores = self.scores(part)
            torch.softmax(scores, -1, out=shares[part])
            total += _surprise_beside(scores, shares[part], self.targets[part])
            shares[part].scatter_add_(
                1, self.targets[part], shares.new_full((1, 1), -1.0).expand_as(self.targets[part])
            )
        grad_x, grad_weight = shares @ self.weight, shares.T @ self.x
        grad_bias = shares.sum(0, dtype=_wide(shares))
        return total / count, grad_x / count, grad_weight / count, grad_bias / count


def _surprise(scores: Tensor, targets: Tensor) -> Tensor:
    """Sum over the rows of -log softmax at the targets."""
    scores = scores.to(_wide(scores))
    return (scores.logsumexp(-1, keepdim=True) - scores.gather(1, targets)).sum()


def _surprise_beside(scores: Tensor, shares: Tensor, targets: Tensor) -> Tensor:
    """The same where the softmax is known: its largest share gives away the sum that it was divided by."""
    wide = _wide(scores)
    # Without their places: finding these as well takes three times as long.
    highest, largest = (each.amax(-1, keepdim=True).to(wide) for each in (scores, shares))
    return (highest - largest.log() - scores.gather(1, targets)).sum()


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        loss, *gradients = _Parts(x, weight, bias, targets, dtype).loss_and_gradients()
        ctx.save_for_backward(*(grad.to(own.dtype) for grad, own in zip(gradients, (x, weight, bias), strict=True)))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        return (*(grad * upstream for grad in ctx.saved_tensors), None, None)
