"""Floor 3: torch.nn layers."""

from lstmkit.nn.attention import AdditiveAttention, DotAttention, MultiHeadAttention
from lstmkit.nn.build import build
from lstmkit.nn.carry import Carry
from lstmkit.nn.cells import GRUCell, LSTMCell, RNNCell
from lstmkit.nn.conv import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from lstmkit.nn.conversion import Conversion, convert
from lstmkit.nn.crf import CRF, crf_log_partition, crf_loss
from lstmkit.nn.cross_entropy import linear_cross_entropy
from lstmkit.nn.ctc import ctc_loss
from lstmkit.nn.keras_call import KerasCall
from lstmkit.nn.layer import Trace
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.minimal import MinGRU, MinLSTM
from lstmkit.nn.onnx_call import OnnxCall
from lstmkit.nn.relatives import JANET, LSTM1997, ONLSTM, MogrifierLSTM, MultiplicativeLSTM
from lstmkit.nn.rnn import GRU, RNN
from lstmkit.nn.saving import save_model
from lstmkit.nn.stages import StagedModel
from lstmkit.nn.timed import EALSTM, PhasedLSTM, TimeAwareLSTM
from lstmkit.nn.tree import TreeLSTM
from lstmkit.nn.xlstm import MLSTM, SLSTM

__all__ = [
    "CRF",
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
    "Carry",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Conversion",
    "DotAttention",
    "GRUCell",
    "KerasCall",
    "LSTMCell",
    "MinGRU",
    "MinLSTM",
    "MogrifierLSTM",
    "MultiHeadAttention",
    "MultiplicativeLSTM",
    "OnnxCall",
    "PhasedLSTM",
    "RNNCell",
    "StagedModel",
    "TimeAwareLSTM",
    "Trace",
    "TreeLSTM",
    "build",
    "convert",
    "crf_log_partition",
    "crf_loss",
    "ctc_loss",
    "linear_cross_entropy",
    "save_model",
]
