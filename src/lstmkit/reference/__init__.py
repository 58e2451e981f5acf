"""Floor 1: the equations, one text that runs under NumPy and torch; the judge of every engine."""

from lstmkit.reference.attention import additive_scores, attend, dot_scores
from lstmkit.reference.backward import DirectionGradients, Saved, Upstream, run_direction_backward
from lstmkit.reference.cells import CELLS, LSTM_VARIANT, Cell, find_cell, layer_weights
from lstmkit.reference.checks import (
    check_lengths,
    check_parameters,
    check_sequence,
    check_state,
    describe_states,
    expect_shape,
)
from lstmkit.reference.layer import LayerResult, run_layer
from lstmkit.reference.lstm import Weights, lstm_step, lstm_step_backward
from lstmkit.reference.lstm_variant import Masks, VariantWeights
from lstmkit.reference.sequence import SequenceResult, name_gates, run_sequence, run_step, zero_state
from lstmkit.reference.stack import join_states, pass_by, split_states
from lstmkit.reference.steps import Steps, mark_steps
from lstmkit.reference.tree import collect_tree, run_tree, tree_levels

__all__ = [
    "CELLS",
    "LSTM_VARIANT",
    "Cell",
    "DirectionGradients",
    "LayerResult",
    "Masks",
    "Saved",
    "SequenceResult",
    "Steps",
    "Upstream",
    "VariantWeights",
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
    "expect_shape",
    "find_cell",
    "join_states",
    "layer_weights",
    "lstm_step",
    "lstm_step_backward",
    "mark_steps",
    "name_gates",
    "pass_by",
    "run_direction_backward",
    "run_layer",
    "run_sequence",
    "run_step",
    "run_tree",
    "split_states",
    "tree_levels",
    "zero_state",
]
