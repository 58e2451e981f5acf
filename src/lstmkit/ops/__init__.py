"""Floor 2: the boundary to torch.library and the choice of engine."""

from lstmkit.ops.aten import AtenOptions, run_aten, run_aten_lengths, run_aten_packed
from lstmkit.ops.choice import ENGINES, EngineChoice, EngineRequest, check_engine, choose_engine
from lstmkit.ops.layer import lstm_layer, lstm_layer_backward, split_weights

__all__ = [
    "ENGINES",
    "AtenOptions",
    "EngineChoice",
    "EngineRequest",
    "check_engine",
    "choose_engine",
    "lstm_layer",
    "lstm_layer_backward",
    "run_aten",
    "run_aten_lengths",
    "run_aten_packed",
    "split_weights",
]
