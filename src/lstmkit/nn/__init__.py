"""Floor 3: torch.nn layers."""

from lstmkit.nn.attention import AdditiveAttention, DotAttention, MultiHeadAttention
from lstmkit.nn.cells import GRUCell, LSTMCell, RNNCell
from lstmkit.nn.conv import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from lstmkit.nn.layer import Trace
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.minimal import MinGRU, MinLSTM
from lstmkit.nn.relatives import JANET, LSTM1997, ONLSTM, MogrifierLSTM, MultiplicativeLSTM
from lstmkit.nn.rnn import GRU, RNN
from lstmkit.nn.saving import save_model
from lstmkit.nn.stages import StagedModel
from lstmkit.nn.timed import EALSTM, PhasedLSTM, TimeAwareLSTM
from lstmkit.nn.tree import TreeLSTM
from lstmkit.nn.xlstm import MLSTM, SLSTM

__all__ = [
    "EALSTM",
    "GRU",
    "JANET",
    "LSTM",
    "LSTM1997",
    "MLSTM",
    "ONLSTM",
    "RNN",
    "SLSTM",
    "AdditiveAttention",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "DotAttention",
    "GRUCell",
    "LSTMCell",
    "MinGRU",
    "MinLSTM",
    "MogrifierLSTM",
    "MultiHeadAttention",
    "MultiplicativeLSTM",
    "PhasedLSTM",
    "RNNCell",
    "StagedModel",
    "TimeAwareLSTM",
    "Trace",
    "TreeLSTM",
    "save_model",
]
