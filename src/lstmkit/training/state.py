"""Where a run stands, apart from tensors."""

from dataclasses import asdict, dataclass, field
from typing import Any

from lstmkit.training.result import Validation


@dataclass
class RunState:
    """Counters of one run; all of it goes into a checkpoint.

    Args:
        step: Optimizer steps taken.
        epoch: Passes completed.
        batch: Batches of the present pass that are used up.
        rate: The learning rate of the last step.
        seconds: Training time when last written down.
        best_score: Lowest score so far.
        best_step: Its step.
        stale: Validations in a row without a better score.
        validated: The step of the last validation.
        validations: All validations.
        averaged_from: The step behind which a triggered averaging of the weights began.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0
    validated: int = 0
    validations: list[Validation] = field(default_factory=list[Validation])
    averaged_from: int | None = None

    def note(self, validation: Validation) -> bool:
        """Take in a validation; whether it is the best so far. A score that is not finite never is."""
        self.validated = validation.step
        self.validations.append(validation)
        least = float("inf") if self.best_score is None else self.best_score
        if not validation.score < least:
            self.stale += 1
            return False
        self.best_score, self.best_step, self.stale = validation.score, validation.step, 0
        return True

    def to_document(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "RunState":
        """The inverse of :meth:`to_document`."""
        validations = [Validation(**row) for row in document["validations"]]
        return cls(**{**document, "validations": validations})
