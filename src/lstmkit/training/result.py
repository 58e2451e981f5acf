"""What a training run tells."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

StopReason: TypeAlias = Literal["steps", "epochs", "patience", "time", "interrupted"]


@dataclass(frozen=True)
class Validation:
    """One validation.

    Args:
        step: Optimizer steps taken before it.
        epoch: Whole passes over the training batches by then.
        loss: Mean training loss since the validation before; NaN if every step between was skipped.
        score: What ``validate`` returned; lower is better.
        learning_rate: The rate of the last step.
        seconds: Training time so far.
    """

    step: int
    epoch: int
    loss: float
    score: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """The course and the end of a training run; the weights themselves are in the module.

    Args:
        stopped: Which limit ended the run.
        steps: Optimizer steps taken in all, those before a resumption included.
        epochs: Whole passes over the training batches.
        best_score: The lowest validation score, or None without ``validate``.
        best_step: The step whose weights are now in the module.
        loss: Mean training loss of the last stretch of steps.
        skipped_steps: Steps not taken because loss or gradient were not finite.
        seconds: Training time, that before a resumption included.
        resumed_from: The step a checkpoint was resumed at, or None.
        validations: All validations in order.
    """

    stopped: StopReason
    steps: int
    epochs: int
    best_score: float | None
    best_step: int
    loss: float
    skipped_steps: int
    seconds: float
    resumed_from: int | None
    validations: tuple[Validation, ...]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the run."""
        return self.stopped == "interrupted"
