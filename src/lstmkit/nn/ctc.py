"""The loss of CTC, over what layers give: time first, uneven lengths, padding that is never read."""

import torch
from torch import Tensor

from lstmkit.spec import DataError, OptionError, ShapeError


def ctc_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    lengths: Tensor | None = None,
    label_lengths: Tensor | None = None,
    blank: int = 0,
) -> Tensor:
    """Negative log-likelihood of each row's labels, summed over all paths that mean them; by torch's ``ctc_loss``.

    :func:`lstmkit.features.ctc_greedy` and :func:`lstmkit.features.ctc_beam_search` decode.

    Args:
        logits: What a network gives at every step, before a softmax.
        labels: The classes to be found, in order.
        lengths: Real steps of each row. None is all.
        label_lengths: Real labels of each row. None is all.
        blank: The class that stands for no label.

    Shape:
        - logits: ``(T, B, C)``; labels: ``(B, S)`` whole numbers; lengths, label_lengths: ``(B,)``
        - result: ``(B,)``

    Units:
        nats per row; divide by ``label_lengths`` for those per label.

    Raises:
        ShapeError: a shape, dtype or length does not fit.
        OptionError: the blank is no class.
        DataError: a label is none, or a row has too few steps for its labels, so that no path means them.

    Source: Graves et al., "Connectionist temporal classification", ICML 2006, section 4.

    Example:
        >>> loss = ctc_loss(torch.zeros(5, 2, 4), torch.tensor([[1, 2], [3, 0]]), label_lengths=torch.tensor([2, 1]))
        >>> loss.shape
        torch.Size([2])
    """
    if logits.dim() != 3 or not logits.numel() or not logits.is_floating_point():
        raise ShapeError(f"expected logits of floats of shape (T, B, C), got {logits.dtype} {tuple(logits.shape)}")
    steps, rows, classes = logits.shape
    if not 0 <= blank < classes:
        raise OptionError(f"blank must be one of the classes 0..{classes - 1}, not {blank!r}")
    if labels.dim() != 2 or len(labels) != rows or not _is_whole(labels):
        raise ShapeError(f"labels must be whole numbers of shape ({rows}, S), not {labels.dtype} {tuple(labels.shape)}")
    ends = _counts("lengths", lengths, rows, 1, steps)
    counts = _counts("label_lengths", label_lengths, rows, 0, labels.shape[1])
    labels = labels.to("cpu", torch.int64)
    real = torch.arange(labels.shape[1]) < counts[:, None]
    _check_labels(labels, real, ends, blank, classes)
    # A softmax would carry NaN out of the padding into every gradient.
    inside = torch.arange(steps, device=logits.device)[:, None] < ends.to(logits.device)
    wide = torch.promote_types(logits.dtype, torch.float32)
    log_probs = torch.where(inside[:, :, None], logits, 0.0).log_softmax(2, dtype=wide)
    targets = labels.where(real, 0).to(logits.device)
    return torch.nn.functional.ctc_loss(log_probs, targets, ends, counts, blank=blank, reduction="none")


def _counts(name: str, given: Tensor | None, rows: int, least: int, most: int) -> Tensor:
    counts = torch.full((rows,), most) if given is None else given.cpu()
    if counts.shape != (rows,) or not _is_whole(counts) or int(counts.min()) < least or int(counts.max()) > most:
        raise ShapeError(f"{name} must be {rows} whole numbers in {least}..{most}, not {counts.tolist()}")
    return counts.to(torch.int64)


def _is_whole(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def _check_labels(labels: Tensor, real: Tensor, ends: Tensor, blank: int, classes: int) -> None:
    strange = real & ((labels < 0) | (labels >= classes) | (labels == blank))
    if strange.any():
        row, place = strange.nonzero()[0].tolist()
        found = int(labels[row, place])
        raise DataError(
            f"label {place} of row {row} is {found}; labels are classes in 0..{classes - 1} other than blank={blank}"
        )
    repeated = (labels[:, 1:] == labels[:, :-1]) & real[:, 1:]
    needed = real.sum(1) + repeated.sum(1)
    if (needed > ends).any():
        row = int((needed > ends).nonzero()[0])
        raise DataError(
            f"row {row} has {int(ends[row])} steps, but its labels need {int(needed[row])}: one for each, and a blank "
            "between two of the same"
        )
