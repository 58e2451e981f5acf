"""Floor 0: what a cell is. Standard library only."""

from lstmkit.spec.catalog import CATALOG, CatalogEntry, Parameter, catalog_entry
from lstmkit.spec.cell import CellSpec
from lstmkit.spec.errors import (
    DataError,
    EngineError,
    LSTMKitError,
    MissingExtraError,
    ModelFileError,
    OptionError,
    ShapeError,
)
from lstmkit.spec.extras import EXTRAS, import_extra, install_command
from lstmkit.spec.files import atomic_write
from lstmkit.spec.layout import GATE_ORDERS, gate_permutation

__all__ = [
    "CATALOG",
    "EXTRAS",
    "GATE_ORDERS",
    "CatalogEntry",
    "CellSpec",
    "DataError",
    "EngineError",
    "LSTMKitError",
    "MissingExtraError",
    "ModelFileError",
    "OptionError",
    "Parameter",
    "ShapeError",
    "atomic_write",
    "catalog_entry",
    "gate_permutation",
    "import_extra",
    "install_command",
]
