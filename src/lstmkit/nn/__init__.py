"""Floor 3: torch.nn layers."""

from lstmkit.nn.carry import Carry
from lstmkit.nn.layer import Trace
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.minimal import MinGRU, MinLSTM
from lstmkit.nn.rnn import GRU, RNN
from lstmkit.nn.saving import save_model
from lstmkit.nn.stages import StagedModel
from lstmkit.nn.xlstm import MLSTM, SLSTM

__all__ = [
    "GRU",
    "LSTM",
    "MLSTM",
    "RNN",
    "SLSTM",
    "Carry",
    "MinGRU",
    "MinLSTM",
    "StagedModel",
    "Trace",
    "save_model",
]
