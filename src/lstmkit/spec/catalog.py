"""The only registry of cells: what each one is called, keeps and comes from."""

from dataclasses import dataclass

from lstmkit.spec.errors import OptionError


@dataclass(frozen=True)
class CatalogEntry:
    """One cell, described by data alone.

    Args:
        gates: Gate letters in the order in which their rows stand in a weight matrix.
        states: Names of the tensors carried from step to step.
        title: What people call it.
        source: Paper that defines it.
    """

    gates: tuple[str, ...]
    states: tuple[str, ...]
    title: str
    source: str


CATALOG: dict[str, CatalogEntry] = {
    "lstm": CatalogEntry(
        gates=("i", "f", "g", "o"),
        states=("h", "c"),
        title="LSTM with forget gate",
        source="Hochreiter & Schmidhuber, Neural Computation 9(8), 1997; "
        "Gers, Schmidhuber & Cummins, Neural Computation 12(10), 2000; "
        "projection: Sak, Senior & Beaufays, Interspeech 2014",
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
