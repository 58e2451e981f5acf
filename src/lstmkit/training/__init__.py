"""Floor 4: one small training loop over Hugging Face Accelerate. It knows no task."""

from lstmkit.training.config import TrainingConfig
from lstmkit.training.loop import fit
from lstmkit.training.result import TrainingResult, Validation

__all__ = ["TrainingConfig", "TrainingResult", "Validation", "fit"]
