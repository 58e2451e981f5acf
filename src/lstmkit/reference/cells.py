"""The cells by their names in the catalog, each as the functions that the drivers call."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lstmkit.reference.arrays import Array, Namespace
from lstmkit.reference.lstm import collect_lstm, lstm_input, lstm_step
from lstmkit.reference.lstm_variant import collect_variant, variant_input, variant_step
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
}

# The LSTM with any options and masks; that without has the same numbers and fewer words.
LSTM_VARIANT = Cell(collect_variant, variant_input, variant_step)


def find_cell(spec: CellSpec) -> Cell:
    """The equations of a specification's cell."""
    return LSTM_VARIANT if spec.variant.changes() else CELLS[spec.cell]


def layer_weights(spec: CellSpec, parameters: Mapping[str, Array], suffix: str) -> Any:
    """Collect one layer and direction out of torch's names."""
    own = {name: parameters[name + suffix] for name in spec.parameter_names()}
    return find_cell(spec).collect(spec, own)
