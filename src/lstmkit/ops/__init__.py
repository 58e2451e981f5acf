"""Floor 2: the boundary to torch.library and the choice of engine."""

from lstmkit.ops.adamw import AdamwOptions, AdamwWeight, adamw, can_step
from lstmkit.ops.aten import AtenOptions, run_aten, run_aten_lengths, run_aten_packed
from lstmkit.ops.aten_relatives import aten_options, run_aten_stack, run_aten_stack_packed
from lstmkit.ops.attention_pool import can_attend, run_attention_pool
from lstmkit.ops.cell_call import CellLayer, Ways
from lstmkit.ops.choice import ENGINES, EngineChoice, EngineRequest, check_engine, choose_engine
from lstmkit.ops.draw import draw_choices, draw_factors
from lstmkit.ops.eager import run_native_layer
from lstmkit.ops.engines import Layer, run_equations, split_weights
from lstmkit.ops.layer import lstm_layer, lstm_layer_backward
from lstmkit.ops.lookup import Bag, can_look_up, look_up
from lstmkit.ops.native import kept_gates_dtype
from lstmkit.ops.native_core import native_available
from lstmkit.ops.native_loss import has_native_loss, run_native_loss
from lstmkit.ops.recurrent import cell_layer, describe, flatten_masks, run_cell_layer

__all__ = [
    "ENGINES",
    "AdamwOptions",
    "AdamwWeight",
    "AtenOptions",
    "Bag",
    "CellLayer",
    "EngineChoice",
    "EngineRequest",
    "Layer",
    "Ways",
    "adamw",
    "aten_options",
    "can_attend",
    "can_look_up",
    "can_step",
    "cell_layer",
    "check_engine",
    "choose_engine",
    "describe",
    "draw_choices",
    "draw_factors",
    "flatten_masks",
    "has_native_loss",
    "kept_gates_dtype",
    "look_up",
    "lstm_layer",
    "lstm_layer_backward",
    "native_available",
    "run_aten",
    "run_aten_lengths",
    "run_aten_packed",
    "run_aten_stack",
    "run_aten_stack_packed",
    "run_attention_pool",
    "run_cell_layer",
    "run_equations",
    "run_native_layer",
    "run_native_loss",
    "split_weights",
]
