"""Floor 3: torch.nn layers."""

from lstmkit.nn.layer import Trace
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.rnn import GRU, RNN
from lstmkit.nn.saving import save_model
from lstmkit.nn.stages import StagedModel

__all__ = ["GRU", "LSTM", "RNN", "StagedModel", "Trace", "save_model"]
