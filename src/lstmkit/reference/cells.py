"""The cells by their names in the catalog, each as the functions that the drivers call."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lstmkit.reference.arrays import Array, Namespace
from lstmkit.reference.conv_lstm import collect_conv_lstm, conv_lstm_input, conv_lstm_step
from lstmkit.reference.entity_aware import collect_entity_aware, entity_aware_input, entity_aware_step
from lstmkit.reference.gru import collect_gru, gru_input, gru_step
from lstmkit.reference.janet import collect_janet, janet_input, janet_step
from lstmkit.reference.lstm import collect_lstm, lstm_input, lstm_step
from lstmkit.reference.lstm1997 import collect_lstm1997, lstm1997_input, lstm1997_step
from lstmkit.reference.lstm_variant import collect_variant, variant_input, variant_step
from lstmkit.reference.minimal import (
    collect_minimal,
    mingru_step,
    mingru_whole,
    minimal_input,
    minlstm_step,
    minlstm_whole,
)
from lstmkit.reference.mlstm import collect_mlstm, mlstm_input, mlstm_step, mlstm_whole
from lstmkit.reference.mogrifier import collect_mogrifier, mogrifier_input, mogrifier_step
from lstmkit.reference.multiplicative import collect_multiplicative, multiplicative_input, multiplicative_step
from lstmkit.reference.on_lstm import collect_on_lstm, on_lstm_input, on_lstm_step
from lstmkit.reference.phased import collect_phased, phased_input, phased_step
from lstmkit.reference.rnn import collect_rnn, rnn_input, rnn_step
from lstmkit.reference.slstm import collect_slstm, slstm_input, slstm_step
from lstmkit.reference.steps import Steps
from lstmkit.reference.time_aware import collect_time_aware, time_aware_input, time_aware_step
from lstmkit.spec import CellSpec, OptionError


class Cell(NamedTuple):
    """One cell's equations; ``w`` is whatever record ``collect`` makes of one direction's parameters."""

    collect: Callable[[CellSpec, Mapping[str, Array]], Any]
    """Parameters by their names without endings -> ``w``."""

    prepare: Callable[[Namespace, Array, Any], Array]
    """``xp, x (T, B, I), w`` -> what no state takes part in, for all steps at once ``(T, B, ...)``."""

    step: Callable[[Namespace, Array, tuple[Array, ...], Any], tuple[Array, tuple[Array, ...], tuple[Array, ...]]]
    """``xp, prepared (B, ...), states, w`` -> output ``(B, R)``, new states, gates ``(B, H)`` each."""

    whole: Callable[[Namespace, Array, tuple[Array, ...], Any, Steps, int, bool], Any] | None = None
    """The same for many steps at once, ``(T, B, ...)``, of cells whose driver is ``chunks``. Also given: which are
    active and reset, how many a chunk has, and whether the gates are wanted."""


CELLS: dict[str, Cell] = {
    "lstm": Cell(collect_lstm, lstm_input, lstm_step),
    "rnn": Cell(collect_rnn, rnn_input, rnn_step),
    "gru": Cell(collect_gru, gru_input, gru_step),
    "slstm": Cell(collect_slstm, slstm_input, slstm_step),
    "mlstm": Cell(collect_mlstm, mlstm_input, mlstm_step, mlstm_whole),
    "minlstm": Cell(collect_minimal, minimal_input, minlstm_step, minlstm_whole),
    "mingru": Cell(collect_minimal, minimal_input, mingru_step, mingru_whole),
    "janet": Cell(collect_janet, janet_input, janet_step),
    "multiplicative": Cell(collect_multiplicative, multiplicative_input, multiplicative_step),
    "mogrifier": Cell(collect_mogrifier, mogrifier_input, mogrifier_step),
    "on_lstm": Cell(collect_on_lstm, on_lstm_input, on_lstm_step),
    "phased": Cell(collect_phased, phased_input, phased_step),
    "time_aware": Cell(collect_time_aware, time_aware_input, time_aware_step),
    "entity_aware": Cell(collect_entity_aware, entity_aware_input, entity_aware_step),
    "conv_lstm": Cell(collect_conv_lstm, conv_lstm_input, conv_lstm_step),
    "lstm1997": Cell(collect_lstm1997, lstm1997_input, lstm1997_step),
}

# The LSTM with any options and masks; that without has the same numbers and fewer words.
LSTM_VARIANT = Cell(collect_variant, variant_input, variant_step)


def find_cell(spec: CellSpec) -> Cell:
    """The equations of a specification's cell for sequences.

    Raises:
        OptionError: the cell is for something else.
    """
    if spec.cell not in CELLS:
        raise OptionError(f"the cell {spec.cell!r} is not for sequences: its driver is {spec.entry.driver!r}")
    return LSTM_VARIANT if spec.cell == "lstm" and spec.variant.changed else CELLS[spec.cell]


def layer_weights(spec: CellSpec, parameters: Mapping[str, Array], suffix: str) -> Any:
    """Collect one layer and direction out of torch's names."""
    own = {name: parameters[name + suffix] for name in spec.parameter_names()}
    return find_cell(spec).collect(spec, own)
