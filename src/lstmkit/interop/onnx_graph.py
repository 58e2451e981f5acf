"""An ``.onnx`` file as a graph: its constants, its nodes, and who makes each value."""

import os
from typing import Any

from lstmkit.interop.layer import Array, Layer, as_array
from lstmkit.interop.onnx_nodes import INPUTS, from_onnx_node
from lstmkit.interop.onnx_options import ONNX_CELLS
from lstmkit.spec import ModelFileError, OptionError, import_extra

OLDEST_OPSET = 7


class Graph:
    """A file's main graph, its constants, and who makes each value."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.onnx = import_extra("onnx", "convert")
        try:
            model = self.onnx.load(os.fspath(path), load_external_data=False)
        except Exception as error:  # protobuf's DecodeError is no subclass of anything better
            brief = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise ModelFileError(f"{path} is no .onnx file, or it is truncated or damaged ({brief})") from None
        self._check_opset(model)
        self.graph = model.graph
        if not self.graph.node:
            raise ModelFileError(f"{path} is no .onnx model, or it is truncated: its graph has no nodes")
        self.constants = {tensor.name: self._number(tensor) for tensor in self.graph.initializer}
        for node in self.graph.node:
            value = self.attributes(node).get("value") if node.op_type == "Constant" else None
            if value is not None:
                self.constants[node.output[0]] = self._number(value)
        self.makers = {output: node for node in self.graph.node for output in node.output}

    def _check_opset(self, model: Any) -> None:
        newest = self.onnx.defs.onnx_opset_version()
        found = {entry.domain: entry.version for entry in model.opset_import}
        version = found.get("", found.get("ai.onnx"))
        if version is None:
            raise ModelFileError(f"{self.path} is no .onnx model, or it is truncated: it names no opset")
        if not OLDEST_OPSET <= version <= newest:
            raise OptionError(f"{self.path} has opset {version}; this reads opsets {OLDEST_OPSET} to {newest}")

    def _number(self, tensor: Any) -> Array:
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            raise OptionError(f"{self.path} keeps {tensor.name!r} in another file; save the model in one")
        try:
            return as_array(self.onnx.numpy_helper.to_array(tensor))
        except Exception as error:  # whatever a damaged tensor leads to
            brief = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise ModelFileError(f"{self.path} is damaged: the tensor {tensor.name[:80]!r} ({brief})") from None

    def attributes(self, node: Any) -> dict[str, Any]:
        """The node's attributes, text as text."""
        values = {entry.name: self.onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        return {
            name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, value in values.items()
        }

    def recurrent(self) -> dict[str, Any]:
        """The recurrent nodes by name, in order."""
        nodes = [node for node in self.graph.node if node.op_type in ONNX_CELLS]
        return {node.name or f"{node.op_type.lower()}_{k}": node for k, node in enumerate(nodes)}

    def named_inputs(self, node: Any) -> dict[str, str]:
        """A recurrent node's inputs that are there: ONNX's name -> the value's name."""
        return {name: value for name, value in zip(INPUTS[node.op_type], node.input, strict=False) if value}

    def layer(self, node: Any) -> Layer:
        """The stack of a node; its weights must be constants of the file."""
        named = self.named_inputs(node)
        arrays: dict[str, Array] = {}
        for name in ("W", "R", "B", "P"):
            if name in named:
                if named[name] not in self.constants:
                    raise OptionError(f"{node.op_type}: {name} is no constant of the file, but computed or an input")
                arrays[name] = self.constants[named[name]]
        return from_onnx_node(node.op_type, self.attributes(node), arrays)

    def is_zero(self, name: str) -> bool:
        """Whether a value is zero whatever the input is: constants of zero, spread by shapes."""
        if name in self.constants:
            return not self.constants[name].any()
        node = self.makers.get(name)
        if node is None:
            return False
        if node.op_type == "ConstantOfShape":
            value = self.attributes(node).get("value")
            return value is None or not self._number(value).any()
        spread = node.op_type in ("Expand", "Unsqueeze", "Squeeze", "Slice", "Identity", "Cast", "Reshape", "Tile")
        return (spread or node.op_type == "Transpose") and self.is_zero(node.input[0])

    def spread_constant(self, name: str) -> Array | None:
        """The constant that Expand repeats along the batch, or None."""
        node = self.makers.get(name)
        if node is not None and node.op_type == "Expand":
            return self.constants.get(node.input[0])
        return self.constants.get(name)
