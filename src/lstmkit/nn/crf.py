"""A linear-chain CRF: tags of a sequence that are judged together, not each by itself.

The score of a path is the sum of its tags' scores and of its transitions; its probability is the exponential of that
over the sum for all paths, which the forward algorithm adds up exactly.
"""

from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lstmkit.features import viterbi
from lstmkit.spec import DataError, ShapeError

# What a forbidden transition costs: its exponential is 0 in every precision, and sums with it stay finite.
FORBIDDEN = -1e4
_NAMES = ("transitions", "first", "last")
# Of shares that add up to 1; double precision drops those below 1e-308.
_LEAST = 1e-60


def crf_loss(
    scores: Tensor, tags: Tensor, transitions: Tensor, first: Tensor, last: Tensor, lengths: Tensor | None = None
) -> Tensor:
    """Negative log-likelihood of each row's tags.

    Args:
        scores: Of each tag at each step, before a softmax. Steps beyond a row's length take no part.
        tags: The right ones.
        transitions: Score of a tag (row) and the one after it (column); :data:`FORBIDDEN` rules one out.
        first: Score of a tag at the first step.
        last: Score of a tag at a row's last step.
        lengths: Real steps of each row, in 1..T. None is all.

    Shape:
        - scores: ``(B, T, K)``; tags: ``(B, T)`` whole numbers; transitions: ``(K, K)``; first, last: ``(K,)``;
          lengths: ``(B,)``; result: ``(B,)``

    Units:
        nats per row.

    Raises:
        ShapeError: a shape or length does not fit.
        DataError: a tag is none.

    Source: Lafferty, McCallum & Pereira, ICML 2001; over an LSTM: Huang, Xu & Yu, arXiv:1508.01991.

    Example:
        >>> nothing = torch.zeros(3)
        >>> loss = crf_loss(torch.zeros(1, 2, 3), torch.tensor([[0, 1]]), torch.zeros(3, 3), nothing, nothing)
        >>> bool(loss.isclose(torch.tensor(9.0).log()))
        True
    """
    real = _real_steps(scores, transitions, first, last, lengths)
    inside = torch.where(real[:, :, None], scores, 0.0)
    tags = _check_tags(tags, real, scores.shape[2])
    return _log_partition(inside, transitions, first, last, real) - _path_score(
        inside, tags, transitions, first, last, real
    )


def crf_log_partition(
    scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor, lengths: Tensor | None = None
) -> Tensor:
    """The logarithm of the sum over all paths, ``(B,)``; arguments and errors as for :func:`crf_loss`.

    Its gradients are the probabilities of tags and transitions.
    """
    real = _real_steps(scores, transitions, first, last, lengths)
    inside = torch.where(real[:, :, None], scores, 0.0)
    return _log_partition(inside, transitions, first, last, real)


class CRF(nn.Module):
    """Transitions that are learned, and the loss and the search over them.

    Args:
        num_tags: ``K``.
        allowed: Which tag may follow which, which may be first and which last, as
            :func:`lstmkit.features.tag_transitions` gives them. None allows everything.

    Shape:
        - allowed: bool ``(K, K)``, ``(K,)``, ``(K,)``

    Raises:
        ShapeError: ``allowed`` has other shapes.

    Example:
        >>> crf = CRF(3)
        >>> scores = torch.randn(2, 5, 3)
        >>> crf(scores, torch.zeros(2, 5, dtype=torch.int64)).shape, len(crf.decode(scores)[0])
        (torch.Size([2]), 5)
    """

    def __init__(self, num_tags: int, allowed: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None) -> None:
        super().__init__()
        shapes = (num_tags, num_tags), (num_tags,), (num_tags,)
        for name, shape, given in zip(_NAMES, shapes, allowed or shapes, strict=True):
            may = torch.ones(shape, dtype=torch.bool) if allowed is None else torch.as_tensor(given, dtype=torch.bool)
            if may.shape != shape:
                raise ShapeError(f"expected the allowed {name} of shape {shape}, got {tuple(may.shape)}")
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
            self.register_buffer(f"forbidden_{name}", torch.zeros(shape).masked_fill(~may, FORBIDDEN), persistent=False)

    def penalised(self) -> tuple[Tensor, Tensor, Tensor]:
        """The transitions, first and last scores, with what is forbidden ruled out."""
        own = [getattr(self, name) + getattr(self, f"forbidden_{name}") for name in _NAMES]
        return own[0], own[1], own[2]

    def forward(self, scores: Tensor, tags: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Negative log-likelihood of each row's tags; see :func:`crf_loss`."""
        return crf_loss(scores, tags, *self.penalised(), lengths)

    def decode(self, scores: Tensor, lengths: Tensor | None = None) -> list[Any]:
        """The best tags of each row, as arrays; see :func:`lstmkit.features.viterbi`."""
        arrays = (value.detach().float().cpu().numpy() for value in (scores, *self.penalised()))
        values, transitions, first, last = arrays
        return viterbi(values, transitions, first, last, None if lengths is None else lengths.cpu().numpy())[0]


def _log_partition(scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor, real: Tensor) -> Tensor:
    """``(B,)``; with probabilities where they can be trusted, else with their logarithms."""
    total: Any = _Scaled.apply(scores, transitions, first, last, real)
    return total if bool(total.isfinite().all()) else _Logarithms.apply(scores, transitions, first, last, real)  # pyright: ignore[reportReturnType]


class _Scaled(torch.autograd.Function):
    """The forward algorithm over shares of all paths, which add up to 1 at every step, and the way back over them.

    NaN where a row loses so much in one step that paths which were too small to be kept might have mattered.

    Source: Rabiner, Proceedings of the IEEE 77 (1989), section V.A.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor, real: Tensor
    ) -> Tensor:
        by_step = scores.swapaxes(0, 1).double()
        steps, step_logs = _exponentials(torch.cat([by_step[:1] + first, by_step[1:]]), dim=2)
        (moves, move_log), (ends, end_log) = _exponentials(transitions.double()), _exponentials(last.double())
        shares, sums = list[Tensor](), list[Tensor]()
        ways = steps[0]
        for step in range(len(steps)):
            ways = (shares[-1] @ moves).mul_(steps[step]) if step else ways
            sums.append(ways.sum(1, keepdim=True))
            shares.append(ways / sums[-1])
        here, lost, lengths = real.T[:, :, None], _trusted(torch.stack(sums)), real.sum(1)
        kept = torch.where(here, torch.stack(shares), 0.0)
        whole = _trusted(kept[lengths - 1, torch.arange(len(real), device=real.device)] @ ends)
        ctx.save_for_backward(kept, torch.where(here, steps / lost, 0.0), moves, ends / whole[:, None], lengths)
        logs = torch.where(here, lost.log() + step_logs, 0.0).sum((0, 2))
        return (logs + (lengths - 1) * move_log + whole.log() + end_log).to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        kept, steps, moves, ends, lengths = ctx.saved_tensors
        final = lengths - 1, torch.arange(len(lengths), device=lengths.device)
        # How much a share weighs for what is still to come, which begins where its row ends.
        weights = torch.zeros_like(kept).index_put_(final, ends * gradient[:, None].double())
        ways = torch.empty_like(kept[1:])
        for step in range(len(kept) - 1, 0, -1):
            torch.mul(weights[step], steps[step], out=ways[step - 1])
            weights[step - 1].addmm_(ways[step - 1], moves.T)
        of_scores = kept * weights
        of_moves = moves * (kept[:-1].flatten(0, 1).T @ ways.flatten(0, 1))
        return of_scores.swapaxes(0, 1), of_moves, of_scores[0].sum(0), of_scores[final].sum(0), None


def _exponentials(values: Tensor, **axis: int) -> tuple[Tensor, Tensor]:
    """Of the values less the largest, so that none is above 1; and the largest."""
    largest = values.amax(keepdim=bool(axis), **axis)
    return (values - largest).exp(), largest


def _trusted(sums: Tensor) -> Tensor:
    """NaN in place of sums that are too small beside what double precision drops."""
    return torch.where(sums > _LEAST, sums, torch.nan)


class _Logarithms(torch.autograd.Function):
    """The forward algorithm; its backward pass hands probabilities down the same steps."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor, real: Tensor
    ) -> Tensor:
        totals = [scores[:, 0] + first]
        for step in range(1, scores.shape[1]):
            before = totals[-1]
            grown = (before[:, :, None] + transitions).logsumexp(1) + scores[:, step]
            totals.append(torch.where(real[:, step, None], grown, before))
        ctx.save_for_backward(torch.stack(totals), transitions, last, real)
        return (totals[-1] + last).logsumexp(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        totals, transitions, last, real = ctx.saved_tensors
        # What each tag of the last step, and then of the steps before it, contributes to the sum.
        share = (totals[-1] + last).softmax(1) * gradient[:, None]
        of_last, of_transitions = share.sum(0), torch.zeros_like(transitions)
        of_scores = torch.empty_like(totals.swapaxes(0, 1))
        for step in range(len(totals) - 1, 0, -1):
            here = real[:, step, None]
            of_scores[:, step] = share * here
            ways = (totals[step - 1][:, :, None] + transitions).softmax(1) * of_scores[:, step, None]
            of_transitions += ways.sum(0)
            share = torch.where(here, ways.sum(2), share)
        of_scores[:, 0] = share
        return of_scores, of_transitions, share.sum(0), of_last, None


def _path_score(scores: Tensor, tags: Tensor, transitions: Tensor, first: Tensor, last: Tensor, real: Tensor) -> Tensor:
    """``(B,)``: what the right path scores."""
    own = (scores.gather(2, tags[:, :, None])[:, :, 0] * real).sum(1)
    moves = (transitions[tags[:, :-1], tags[:, 1:]] * real[:, 1:]).sum(1)
    final = tags.gather(1, real.sum(1, keepdim=True) - 1)[:, 0]
    return own + moves + first[tags[:, 0]] + last[final]


def _real_steps(scores: Tensor, transitions: Tensor, first: Tensor, last: Tensor, lengths: Tensor | None) -> Tensor:
    """``(B, T)``: True where a row has a step."""
    if scores.dim() != 3 or not scores.numel() or not scores.is_floating_point():
        raise ShapeError(f"expected scores of floats of shape (B, T, K), got {scores.dtype} {tuple(scores.shape)}")
    rows, steps, count = scores.shape
    shapes = [tuple(weight.shape) for weight in (transitions, first, last)]
    if shapes != [(count, count), (count,), (count,)]:
        raise ShapeError(f"expected transitions, first and last for {count} tags, got the shapes {shapes}")
    ends = torch.full((rows,), steps) if lengths is None else lengths
    whole = not (ends.is_floating_point() or ends.is_complex() or ends.dtype == torch.bool)
    if ends.shape != (rows,) or not whole or int(ends.min()) < 1 or int(ends.max()) > steps:
        raise ShapeError(f"lengths must be {rows} whole numbers in 1..{steps}, not {ends.tolist()}")
    return torch.arange(steps, device=scores.device) < ends.to(scores.device)[:, None]


def _check_tags(tags: Tensor, real: Tensor, count: int) -> Tensor:
    """The tags, with 0 where there is no step."""
    if tags.shape != real.shape or tags.is_floating_point() or tags.dtype == torch.bool:
        raise ShapeError(
            f"tags must be whole numbers of shape {tuple(real.shape)}, not {tags.dtype} {tuple(tags.shape)}"
        )
    tags = torch.where(real, tags, 0)
    if int(tags.min()) < 0 or int(tags.max()) >= count:
        row, step = ((tags < 0) | (tags >= count)).nonzero()[0].tolist()
        raise DataError(f"tag {step} of row {row} is {int(tags[row, step])}; tags are in 0..{count - 1}")
    return tags
