"""Floor 3: torch.nn layers."""

from lstmkit.nn.lstm import LSTM, Trace
from lstmkit.nn.saving import save_model
from lstmkit.nn.stages import StagedModel

__all__ = ["LSTM", "StagedModel", "Trace", "save_model"]
