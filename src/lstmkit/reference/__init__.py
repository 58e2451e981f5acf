"""Floor 1: the equations, one text that runs under NumPy and torch; the judge of every engine."""

from lstmkit.reference.backward import DirectionGradients, Saved, Upstream, run_direction_backward
from lstmkit.reference.checks import check_lengths, check_parameters, check_sequence, check_state
from lstmkit.reference.layer import LayerResult, Steps, layer_weights, mark_steps, run_layer
from lstmkit.reference.lstm import Weights, lstm_step, lstm_step_backward
from lstmkit.reference.sequence import SequenceResult, State, name_gates, run_sequence, run_step, zero_state

__all__ = [
    "DirectionGradients",
    "LayerResult",
    "Saved",
    "SequenceResult",
    "State",
    "Steps",
    "Upstream",
    "Weights",
    "check_lengths",
    "check_parameters",
    "check_sequence",
    "check_state",
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
