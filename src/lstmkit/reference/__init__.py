"""Floor 1: the equations, one text that runs under NumPy and torch; the judge of every engine."""

from lstmkit.reference.attention import additive_scores, attend, dot_scores
from lstmkit.reference.backward import DirectionGradients, Saved, Upstream, run_direction_backward
from lstmkit.reference.cells import CELLS, Cell, layer_weights
from lstmkit.reference.checks import check_lengths, check_parameters, check_sequence, check_state, describe_states
from lstmkit.reference.layer import LayerResult, run_layer
from lstmkit.reference.lstm import Weights, lstm_step, lstm_step_backward
from lstmkit.reference.sequence import SequenceResult, join_states, name_gates, run_sequence, run_step, zero_state
from lstmkit.reference.steps import Steps, mark_steps
from lstmkit.reference.tree import collect_tree, run_tree, tree_levels

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
    "additive_scores",
    "attend",
    "check_lengths",
    "check_parameters",
    "check_sequence",
    "check_state",
    "collect_tree",
    "describe_states",
    "dot_scores",
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
    "run_tree",
    "tree_levels",
    "zero_state",
]
