"""How good a classifier is on examples whose labels are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import Vocabulary
from lstmkit.tasks.classification import metrics

Array = NDArray[Any]

# A confusion matrix of more labels than these fills no screen; its largest confusions are listed instead.
_MOST_SHOWN, _CONFUSIONS = 12, 10


@dataclass(frozen=True)
class Evaluation:
    """Scores, and what was taken for what.

    Args:
        labels: Names: those of the model, then those that it has never seen.
        known: How many of them are the model's.
        confusion: ``(labels, labels)``: rows are what is true, columns what was found.
        accuracy: The part that is right.
        macro_f1: Mean F1 of all labels that are true or found.
        log_loss: In nats.
        expected_calibration_error: How far the probabilities are from how often they are right.
        majority: The accuracy of the most frequent label.
    """

    labels: tuple[str, ...]
    known: int
    confusion: Array
    accuracy: float
    macro_f1: float
    log_loss: float
    expected_calibration_error: float
    majority: float

    @property
    def examples(self) -> int:
        """How many were judged."""
        return int(self.confusion.sum())

    @property
    def unseen(self) -> dict[str, int]:
        """How often each label came that the model has never seen; each time is an error."""
        counts = self.confusion.sum(1)[self.known :]
        return {name: int(count) for name, count in zip(self.labels[self.known :], counts, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON can hold them."""
        each = metrics.per_class(self.confusion)
        return {
            "examples": self.examples,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "log_loss": self.log_loss,
            "expected_calibration_error": self.expected_calibration_error,
            "majority_accuracy": self.majority,
            "unseen_labels": self.unseen,
            "classes": {
                name: {score: each[score][number].item() for score in each} for number, name in enumerate(self.labels)
            },
        }

    def __str__(self) -> str:
        lines = [*_summary(self), "", *_class_lines(self), "", *_confusion_lines(self)]
        return "\n".join(lines)


def evaluate(truth: Sequence[str], probabilities: Array, labels: Vocabulary) -> Evaluation:
    """Judge probabilities.

    Args:
        truth: The true label of each example.
        probabilities: ``(N, K)``.
        labels: Of the model.
    """
    unseen = sorted({name for name in truth if labels.find(name) is None})
    every = Vocabulary([*labels.names, *unseen])
    numbers, found = every.numbers(truth), probabilities.argmax(1)
    counts = metrics.confusion(numbers, found, len(every))
    return Evaluation(
        labels=every.names,
        known=len(labels),
        confusion=counts,
        accuracy=metrics.accuracy(numbers, found),
        macro_f1=metrics.macro_f1(counts),
        log_loss=metrics.log_loss(numbers, probabilities),
        expected_calibration_error=metrics.expected_calibration_error(numbers, probabilities),
        majority=float(np.bincount(numbers).max() / len(numbers)),
    )


def _summary(found: Evaluation) -> list[str]:
    lines = [
        f"{found.examples:,} examples: accuracy {found.accuracy:.1%}, macro F1 {found.macro_f1:.3f}, "
        f"log loss {found.log_loss:.3f}, calibration error {found.expected_calibration_error:.1%}",
        f"(always the most frequent label: accuracy {found.majority:.1%})",
    ]
    if found.unseen:
        names = ", ".join(f"{name[:40]!r} ({count:,})" for name, count in found.unseen.items())
        lines.append(f"labels that were never seen in training, each an error: {names}")
    return lines


def _class_lines(found: Evaluation) -> list[str]:
    each = metrics.per_class(found.confusion)
    width = max(len("label"), *(len(_short(name)) for name in found.labels))
    lines = [f"{'label':<{width}}  precision  recall     F1  support"]
    for number, name in enumerate(found.labels):
        precision, recall, f1 = (each[score][number] for score in ("precision", "recall", "f1"))
        lines.append(
            f"{_short(name):<{width}}  {precision:9.3f}  {recall:6.3f}  {f1:5.3f}  {each['support'][number]:7,}"
        )
    return lines


def _confusion_lines(found: Evaluation) -> list[str]:
    if len(found.labels) > _MOST_SHOWN:
        return _worst_lines(found)
    names = [_short(name) for name in found.labels]
    width = max(len(f"{found.confusion.max():,}"), *map(len, names))
    lines = ["true \\ found".ljust(max(width, 12)) + "".join(f"  {name:>{width}}" for name in names)]
    for name, row in zip(names, found.confusion, strict=True):
        lines.append(f"{name:<{max(width, 12)}}" + "".join(f"  {count:>{width},}" for count in row))
    return lines


def _worst_lines(found: Evaluation) -> list[str]:
    wrong = found.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    pairs = [divmod(int(place), len(found.labels)) for place in order if wrong.flat[place]]
    lines = [f"  {_short(found.labels[a])} taken for {_short(found.labels[b])}: {wrong[a, b]:,}" for a, b in pairs]
    return ["most frequent confusions:", *(lines or ["  none"])]


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"
