"""The loss of CTC beside the definition: all paths, written out."""

from itertools import groupby, product
from typing import Any

import pytest
import torch
from helpers.hostile import close

from lstmkit import nn
from lstmkit.spec import LSTMKitError

STEPS, CLASSES = 5, 4
LENGTHS, COUNTS = torch.tensor([5, 3, 4]), torch.tensor([3, 0, 2])
LABELS = torch.tensor([[1, 1, 3], [-7, -7, -7], [3, 0, -7]])
BLANK = 2


def every_path(logits: torch.Tensor, labels: list[int]) -> torch.Tensor:
    """Graves et al. (2006), equation 3, for one row."""
    probabilities = logits.softmax(1)
    total = logits.new_zeros(())
    for path in product(range(CLASSES), repeat=len(logits)):
        if [label for label, _ in groupby(path) if label != BLANK] == labels:
            total = total + torch.stack([p[label] for p, label in zip(probabilities, path, strict=True)]).prod()
    return -total.log()


def test_loss__matches_all_paths() -> None:
    """Values and gradients, uneven lengths, NaN beyond them, repeated labels and a row without any."""
    clean = torch.randn(STEPS, 3, CLASSES, dtype=torch.float64)
    padding = torch.arange(STEPS)[:, None] >= LENGTHS
    ours = clean.masked_fill(padding[:, :, None], float("nan")).requires_grad_()
    loss = nn.ctc_loss(ours, LABELS, lengths=LENGTHS, label_lengths=COUNTS, blank=BLANK)
    theirs = clean.clone().requires_grad_()
    rows = zip(theirs.unbind(1), LABELS.tolist(), LENGTHS.tolist(), COUNTS.tolist(), strict=True)
    expected = torch.stack([every_path(logits[:length], labels[:count]) for logits, labels, length, count in rows])
    close(loss, expected)
    weights = torch.tensor([0.5, 2.0, -1.0], dtype=torch.float64)
    (loss * weights).sum().backward()
    (expected * weights).sum().backward()
    close(ours.grad, theirs.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_loss__is_wide_enough(dtype: torch.dtype) -> None:
    logits = torch.randn(STEPS, 3, CLASSES).to(dtype)
    loss = nn.ctc_loss(logits, LABELS, lengths=LENGTHS, label_lengths=COUNTS, blank=BLANK)
    assert loss.dtype == torch.float32
    expected = nn.ctc_loss(logits.double(), LABELS, lengths=LENGTHS, label_lengths=COUNTS, blank=BLANK)
    close(loss, expected.float())


def test_network__learns_labels() -> None:
    """A layer's outputs go in as they are, and the decoders read the answer."""
    from lstmkit.features import ctc_beam_search, ctc_greedy

    torch.manual_seed(0)
    layer, head = nn.LSTM(3, 16), torch.nn.Linear(16, CLASSES)
    x, labels = torch.randn(8, 2, 3), torch.tensor([[1, 2, 2], [3, 1, 0]])
    counts = torch.tensor([3, 2])
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.03)
    for _ in range(120):
        optimizer.zero_grad()
        nn.ctc_loss(head(layer(x)[0]), labels, label_lengths=counts).mean().backward()
        optimizer.step()
    log_probs = head(layer(x)[0]).log_softmax(2).detach().numpy()
    for found in (ctc_greedy(log_probs), [row[0] for row in ctc_beam_search(log_probs, beam_width=8)]):
        assert [row.labels for row in found] == [(1, 2, 2), (3, 1)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"logits": torch.zeros(3, 4)}, r"expected logits of floats of shape \(T, B, C\), got torch.float32 \(3, 4\)"),
        ({"logits": torch.zeros(5, 3, 4, dtype=torch.int64)}, "expected logits of floats"),
        ({"blank": 4}, "blank must be one of the classes 0..3, not 4"),
        ({"labels": torch.ones(2, 3, dtype=torch.int64)}, r"labels must be whole numbers of shape \(3, S\)"),
        ({"labels": torch.ones(3, 3)}, "labels must be whole numbers"),
        ({"lengths": torch.tensor([5, 3])}, r"lengths must be 3 whole numbers in 1..5, not \[5, 3\]"),
        ({"lengths": torch.tensor([5, 3, 0])}, r"lengths must be 3 whole numbers in 1..5, not \[5, 3, 0\]"),
        ({"label_lengths": torch.tensor([4, 0, 2])}, r"label_lengths must be 3 whole numbers in 0..3"),
        ({"label_lengths": torch.tensor([3, 1, 2])}, "label 0 of row 1 is -7; labels are classes in 0..3 other than"),
        ({"blank": 3}, "label 2 of row 0 is 3; .* other than blank=3"),
        ({"lengths": torch.tensor([3, 3, 4])}, "row 0 has 3 steps, but its labels need 4: one for each, and a blank"),
    ],
)
def test_loss__rejects_what_cannot_be(change: dict[str, Any], said: str) -> None:
    plain = {"logits": torch.zeros(STEPS, 3, CLASSES), "labels": LABELS, "lengths": LENGTHS, "label_lengths": COUNTS}
    with pytest.raises(LSTMKitError, match=said):
        nn.ctc_loss(**{**plain, "blank": BLANK, **change})
