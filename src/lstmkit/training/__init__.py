"""Floor 4: one small training loop over Hugging Face Accelerate. It knows no task."""

from lstmkit.training.config import TrainingConfig
from lstmkit.training.loop import fit
from lstmkit.training.result import TrainingResult, Validation
from lstmkit.training.study import Choice, Range, Trial
from lstmkit.training.tuning import SearchResult, search

__all__ = [
    "Choice",
    "Range",
    "SearchResult",
    "TrainingConfig",
    "TrainingResult",
    "Trial",
    "Validation",
    "fit",
    "search",
]
