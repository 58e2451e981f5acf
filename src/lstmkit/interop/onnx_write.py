"""Writing ``.onnx`` files: batch and time stay open, and the batch comes first."""

import os
from typing import Any

import numpy as np

from lstmkit.interop.chain import check_chain, layer_of
from lstmkit.interop.layer import Array
from lstmkit.interop.onnx_nodes import INPUTS, to_onnx_nodes
from lstmkit.runtime import SequenceModel, Stage
from lstmkit.spec import CellSpec, OptionError, atomic_write, import_extra

# Old enough for every runtime of the last years; its operators have not changed in meaning since.
OPSET = 14

_UNARY = {"relu": "Relu", "exponential": "Exp", "logarithm": "Log", "dropout": "Identity"}


def write_onnx_model(path: str | os.PathLike[str], model: SequenceModel) -> None:
    """Write a chain as a graph from ``x (B, T, I)`` to ``y (B, T, O)``.

    Raises:
        OptionError: ONNX has no operator for a stage, or a projection.
        LSTMKitError: the path cannot be written to.
    """
    check_chain(model, learned_states=True)
    onnx = import_extra("onnx", "convert")
    graph = _Graph(onnx, model)
    for stage in model.stages:
        graph.append(stage)
    content = graph.model().SerializeToString()
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


class _Graph:
    """Nodes and constants; inside, time comes first, as ONNX's operators have it everywhere."""

    def __init__(self, onnx: Any, source: SequenceModel) -> None:
        self.onnx, self.source = onnx, source
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.value = self._node("Transpose", ["x"], perm=[1, 0, 2])

    def append(self, stage: Stage) -> None:
        """Add the nodes of one stage."""
        if stage.kind == "recurrent":
            self._recurrent(stage)
        elif stage.kind == "linear":
            weights = self.source.weights[stage.name]
            self.value = self._node("MatMul", [self.value, self._constant(weights["weight"].T)])
            if "bias" in weights:
                self.value = self._node("Add", [self.value, self._constant(weights["bias"])])
        elif stage.kind in _UNARY:
            self.value = self._node(_UNARY[stage.kind], [self.value])
        else:
            raise OptionError(f"no ONNX operator is known for the stage {stage.name!r} of the kind {stage.kind!r}")

    def model(self) -> Any:
        """The whole model."""
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        self.nodes.append(helper.make_node("Transpose", [self.value], ["y"], perm=[1, 0, 2]))
        shapes = [("x", self.source.input_size), ("y", self.source.output_size)]
        given, answer = [helper.make_tensor_value_info(name, kind, ["batch", "time", size]) for name, size in shapes]
        graph = helper.make_graph(self.nodes, "lstmkit", [given], [answer], initializer=self.constants)
        imports = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="lstmkit")
        self.onnx.checker.check_model(model)
        return model

    def _recurrent(self, stage: Stage) -> None:
        spec = CellSpec.from_dict(stage.options["cell"])
        own = self.source.weights[stage.name]
        for number, (operator, attributes, arrays) in enumerate(to_onnx_nodes(layer_of(self.source, stage))):
            rows = slice(number * spec.num_directions, (number + 1) * spec.num_directions)
            states = {name: own[f"{name}_0"][rows] for name in spec.state_shapes() if f"{name}_0" in own}
            named = {"X": self.value} | {name: self._constant(array) for name, array in arrays.items()}
            named |= {f"initial_{name}": self._for_each_row(state) for name, state in states.items()}
            inputs = [named.get(name, "") for name in INPUTS[operator]]
            while not inputs[-1]:
                inputs.pop()
            y = self._node(operator, inputs, **attributes)
            if spec.num_directions == 1:
                self.value = self._node("Squeeze", [y, self._constant(np.array([1], np.int64))])
            else:
                side_by_side = self._node("Transpose", [y], perm=[0, 2, 1, 3])
                self.value = self._node("Reshape", [side_by_side, self._constant(np.array([0, 0, -1], np.int64))])

    def _for_each_row(self, state: Array) -> str:
        """A state ``(D, R)`` repeated along the batch: ``(D, B, R)``."""
        batch = self._node("Gather", [self._node("Shape", ["x"]), self._constant(np.array([0], np.int64))])
        ends = [self._constant(np.array([size], np.int64)) for size in state.shape]
        shape = self._node("Concat", [ends[0], batch, ends[1]], axis=0)
        return self._node("Expand", [self._constant(state[:, None]), shape])

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, array: Array) -> str:
        name = f"constant_{len(self.constants)}"
        kept = array if array.dtype == np.int64 else np.asarray(array, np.float32)
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name
