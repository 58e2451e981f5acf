"""The cells by their names in the catalog, each as the functions that the drivers call."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lstmkit.reference.arrays import Array, Namespace
from lstmkit.reference.gru import collect_gru, gru_input, gru_step
from lstmkit.reference.lstm import collect_lstm, lstm_input, lstm_step
from lstmkit.reference.rnn import collect_rnn, rnn_input, rnn_step
from lstmkit.spec import CellSpec


class Cell(NamedTuple):
    """One cell's equations; ``w`` is whatever record ``collect`` makes of one direction's parameters."""

    collect: Callable[[CellSpec, Mapping[str, Array]], Any]
    """Parameters by their names without endings -> ``w``."""

    prepare: Callable[[Namespace, Array, Any], Array]
    """``xp, x (T, B, I), w`` -> what no state takes part in, for all steps at once ``(T, B, ...)``."""

    step: Callable[[Namespace, Array, tuple[Array, ...], Any], tuple[Array, tuple[Array, ...], tuple[Array, ...]]]
    """``xp, prepared (B, ...), states, w`` -> output ``(B, R)``, new states, gates ``(B, H)`` each."""


CELLS: dict[str, Cell] = {
    "lstm": Cell(collect_lstm, lstm_input, lstm_step),
    "rnn": Cell(collect_rnn, rnn_input, rnn_step),
    "gru": Cell(collect_gru, gru_input, gru_step),
}


def layer_weights(spec: CellSpec, parameters: Mapping[str, Array], suffix: str) -> Any:
    """Collect one layer and direction out of torch's names."""
    own = {name: parameters[name + suffix] for name in spec.parameter_names()}
    return CELLS[spec.cell].collect(spec, own)
