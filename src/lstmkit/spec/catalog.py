"""The only registry of cells: what each one is called, is made of, keeps and comes from.

Shapes are text: axes stand apart, each the product of letters that a CellSpec knows (``"GH I"`` is ``G*H`` rows and
``I`` columns): ``G`` gates that have weights, ``H`` units, ``I`` inputs, ``R`` outputs; of an LSTM also ``F`` gates
among i, f and o that have weights, and ``K`` peepholes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lstmkit.spec.errors import OptionError


@dataclass(frozen=True)
class Parameter:
    """One array of a layer and direction: its name, its shape in letters, the options without which it is absent."""

    name: str
    shape: str
    needs: str = ""


@dataclass(frozen=True)
class CatalogEntry:
    """One cell, described by data alone.

    Args:
        gates: Gate letters in the order in which their rows stand in a weight matrix.
        states: What is carried from step to step: name -> shape of one row, in letters. The first one is the output.
        parameters: The arrays of one layer and direction, in order.
        title: What people call it.
        source: Paper that defines it.
        options: Options of a CellSpec that this cell has and others need not have.
    """

    gates: tuple[str, ...]
    states: Mapping[str, str]
    parameters: tuple[Parameter, ...]
    title: str
    source: str
    options: tuple[str, ...] = ()


_BIASES = (Parameter("bias_ih", "GH", "bias"), Parameter("bias_hh", "GH", "bias"))

CATALOG: dict[str, CatalogEntry] = {
    "lstm": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states={"h": "R", "c": "H"},
        parameters=(
            Parameter("weight_ih", "GH I"),
            Parameter("weight_hh", "GH R"),
            *_BIASES,
            Parameter("weight_hr", "R H", "proj_size"),
            Parameter("bias_hr", "R", "proj_bias"),
            Parameter("weight_ch", "KH", "peepholes"),
            Parameter("weight_gates", "FH FH", "full_gate_recurrence"),
            Parameter("gain_ih", "GH", "normalises_products"),
            Parameter("gain_hh", "GH", "normalises_products"),
            Parameter("gain_gates", "GH", "normalises_gates"),
            Parameter("gain_c", "H", "normalises_cell"),
            Parameter("bias_c", "H", "normalises_cell bias"),
        ),
        title="LSTM with forget gate",
        source="Hochreiter & Schmidhuber, Neural Computation 9(8), 1997; "
        "Gers, Schmidhuber & Cummins, Neural Computation 12(10), 2000; "
        "projection: Sak, Senior & Beaufays, Interspeech 2014",
        options=("proj_size", "layer_sizes", "skip", "variant"),
    ),
}


def catalog_entry(cell: str) -> CatalogEntry:
    """Look a cell up.

    Raises:
        OptionError: no cell of that name; the message lists those that exist.

    Example:
        >>> catalog_entry("lstm").gates
        ('i', 'f', 'g', 'o')
    """
    if cell not in CATALOG:
        raise OptionError(f"no cell is called {cell!r}; the catalog has: {', '.join(sorted(CATALOG))}")
    return CATALOG[cell]
