"""The cells by their names in the catalog, each as the functions that the drivers call."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lstmkit.reference.arrays import Array, Namespace
from lstmkit.reference.gru import collect_gru, gru_input, gru_step
from lstmkit.reference.lstm import collect_lstm, lstm_input, lstm_step
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
from lstmkit.reference.rnn import collect_rnn, rnn_input, rnn_step
from lstmkit.reference.slstm import collect_slstm, slstm_input, slstm_step
from lstmkit.reference.steps import Steps
from lstmkit.spec import CellSpec


class Cell(NamedTuple):
    """One cell's equations; ``w`` is whatever record ``collect`` makes of one direction's parameters."""

    collect: Callable[[CellSpec, Mapping[str, Array]], Any]
    """Parameters by their names without endings -> ``w``."""

    prepare: Callable[[Namespace, Array, Any], Array]
    """``xp, x (T, B, I), w`` -> what no state takes part in, for all steps at once ``(T, B, ...)``."""

    step: Callable[[Namespace, Array, tuple[Array, ...], Any], tuple[Array, tuple[Array, ...], tuple[Array, ...]]]
    """``xp, prepared (B, ...), states, w`` -> output ``(B, R)``, new states, gates ``(B, H)`` each."""

    whole: Callable[[Namespace, Array, tuple[Array, ...], Any, Steps], Any] | None = None
    """The same for many steps at once, ``(T, B, ...)``, of the cells whose driver is ``chunks``."""


CELLS: dict[str, Cell] = {
    "lstm": Cell(collect_lstm, lstm_input, lstm_step),
    "rnn": Cell(collect_rnn, rnn_input, rnn_step),
    "gru": Cell(collect_gru, gru_input, gru_step),
    "slstm": Cell(collect_slstm, slstm_input, slstm_step),
    "mlstm": Cell(collect_mlstm, mlstm_input, mlstm_step, mlstm_whole),
    "minlstm": Cell(collect_minimal, minimal_input, minlstm_step, minlstm_whole),
    "mingru": Cell(collect_minimal, minimal_input, mingru_step, mingru_whole),
}

# The LSTM with any options and masks; that without has the same numbers and fewer words.
LSTM_VARIANT = Cell(collect_variant, variant_input, variant_step)


def find_cell(spec: CellSpec) -> Cell:
    """The equations of a specification's cell."""
    return LSTM_VARIANT if spec.variant.changed else CELLS[spec.cell]


def layer_weights(spec: CellSpec, parameters: Mapping[str, Array], suffix: str) -> Any:
    """Collect one layer and direction out of torch's names."""
    own = {name: parameters[name + suffix] for name in spec.parameter_names()}
    return find_cell(spec).collect(spec, own)
