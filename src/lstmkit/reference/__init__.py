"""Floor 1: the equations, one text that runs under NumPy and torch; the judge of every engine."""

from lstmkit.reference.backward import DirectionGradients, Saved, Upstream, run_direction_backward
from lstmkit.reference.cells import CELLS, Cell, layer_weights
from lstmkit.reference.checks import check_lengths, check_parameters, check_sequence, check_state, describe_states
from lstmkit.reference.layer import LayerResult, Steps, mark_steps, run_layer
from lstmkit.reference.lstm import Weights, lstm_step, lstm_step_backward
from lstmkit.reference.sequence import SequenceResult, join_states, name_gates, run_sequence, run_step, zero_state

__all__ = [
    "CELLS",
    "Cell",
    "DirectionGradients",
    "LayerResult",
    "Saved",
    "SequenceResult",
    "Steps",
    "Upstream",
    "Weights",
    "check_lengths",
    "check_parameters",
    "check_sequence",
    "check_state",
    "describe_states",
    "join_states",
    "layer_weights",
    "lstm_step",
    "lstm_step_backward",
    "mark_steps",
    "name_gates",
    "run_direction_backward",
    "run_layer",
    "run_sequence",
    "run_step",
    "zero_state",
]
