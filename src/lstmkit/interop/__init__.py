"""Floor 3: weights and models of other systems, in and out."""

from lstmkit.interop.check import check_file
from lstmkit.interop.files import Imported, as_written, from_keras_model, read_layers, read_model, write_model
from lstmkit.interop.haste import from_haste, to_haste
from lstmkit.interop.keras_layers import from_keras, from_keras_config, to_keras
from lstmkit.interop.keras_options import KERAS_CELLS
from lstmkit.interop.layer import Layer
from lstmkit.interop.onnx_nodes import from_onnx_node, to_onnx_nodes
from lstmkit.interop.onnx_options import ONNX_CELLS
from lstmkit.interop.torch_layers import from_state_dict, from_torch, to_torch

__all__ = [
    "KERAS_CELLS",
    "ONNX_CELLS",
    "Imported",
    "Layer",
    "as_written",
    "check_file",
    "from_haste",
    "from_keras",
    "from_keras_config",
    "from_keras_model",
    "from_onnx_node",
    "from_state_dict",
    "from_torch",
    "read_layers",
    "read_model",
    "to_haste",
    "to_keras",
    "to_onnx_nodes",
    "to_torch",
    "write_model",
]
