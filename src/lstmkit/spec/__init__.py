"""Floor 0: what a cell is. Standard library only."""

from lstmkit.spec.activations import ACTIVATIONS, Activation, activation_constants
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
from lstmkit.spec.processes import is_main_process, process_count, process_number
from lstmkit.spec.torch_spec import TORCH_CELLS, torch_spec
from lstmkit.spec.variant import LAYER_NORMS, LayerNorm, Variant

__all__ = [
    "ACTIVATIONS",
    "CATALOG",
    "EXTRAS",
    "LAYER_NORMS",
    "LAYOUTS",
    "TORCH_CELLS",
    "Activation",
    "CatalogEntry",
    "CellSpec",
    "DataError",
    "EngineError",
    "LSTMKitError",
    "LayerNorm",
    "MissingExtraError",
    "ModelFileError",
    "OptionError",
    "Parameter",
    "ShapeError",
    "Variant",
    "WeightLayout",
    "activation_constants",
    "atomic_write",
    "catalog_entry",
    "gate_permutation",
    "import_extra",
    "install_command",
    "is_main_process",
    "process_count",
    "process_number",
    "torch_spec",
    "weight_layout",
]
