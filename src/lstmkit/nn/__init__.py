"""Floor 3: torch.nn layers."""

from lstmkit.nn.build import build
from lstmkit.nn.conversion import Conversion, convert
from lstmkit.nn.keras_call import KerasCall
from lstmkit.nn.layer import Trace
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.onnx_call import OnnxCall
from lstmkit.nn.rnn import GRU, RNN
from lstmkit.nn.saving import save_model
from lstmkit.nn.stages import StagedModel

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Conversion",
    "KerasCall",
    "OnnxCall",
    "StagedModel",
    "Trace",
    "build",
    "convert",
    "save_model",
]
