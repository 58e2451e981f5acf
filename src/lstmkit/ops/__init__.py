"""Floor 2: the boundary to torch.library and the choice of engine."""

from lstmkit.ops.aten import AtenOptions, run_aten, run_aten_lengths, run_aten_packed
from lstmkit.ops.choice import ENGINES, EngineChoice, EngineRequest, check_engine, choose_engine
from lstmkit.ops.eager import run_native_layer
from lstmkit.ops.engines import Layer, run_equations, split_weights
from lstmkit.ops.layer import lstm_layer, lstm_layer_backward
from lstmkit.ops.native import native_available

__all__ = [
    "ENGINES",
    "AtenOptions",
    "EngineChoice",
    "EngineRequest",
    "Layer",
    "check_engine",
    "choose_engine",
    "lstm_layer",
    "lstm_layer_backward",
    "native_available",
    "run_aten",
    "run_aten_lengths",
    "run_aten_packed",
    "run_equations",
    "run_native_layer",
    "split_weights",
]
