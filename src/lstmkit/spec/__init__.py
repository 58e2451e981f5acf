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
from lstmkit.spec.layout import LAYOUTS, WeightLayout, gate_permutation, weight_layout
from lstmkit.spec.torch_spec import TORCH_CELLS, torch_spec

__all__ = [
    "CATALOG",
    "EXTRAS",
    "LAYOUTS",
    "TORCH_CELLS",
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
    "WeightLayout",
    "atomic_write",
    "catalog_entry",
    "gate_permutation",
    "import_extra",
    "install_command",
    "torch_spec",
    "weight_layout",
]
