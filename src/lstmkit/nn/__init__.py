"""Floor 3: torch.nn layers."""

from lstmkit.nn.build import build
from lstmkit.nn.carry import Carry
from lstmkit.nn.conversion import Conversion, convert
from lstmkit.nn.keras_call import KerasCall
from lstmkit.nn.layer import Trace
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.minimal import MinGRU, MinLSTM
from lstmkit.nn.onnx_call import OnnxCall
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
    "Conversion",
    "KerasCall",
    "MinGRU",
    "MinLSTM",
    "OnnxCall",
    "StagedModel",
    "Trace",
    "build",
    "convert",
    "save_model",
]
