"""Reading ``.onnx`` files: the recurrent nodes of a graph, and graphs that are a chain of them."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lstmkit.interop.chain import Chain
from lstmkit.interop.layer import Array, Layer
from lstmkit.interop.onnx_graph import Graph
from lstmkit.interop.onnx_options import ONNX_CELLS
from lstmkit.spec import OptionError

# Letters of axes: D directions, L the first axis of states of several layers, F features. Time and batch are known
# by the letters that the input's axes got, for only a recurrent node says which is which.
_FIRST, _SECOND = "a", "b"


class Value(NamedTuple):
    """A tensor on the way from the input to the output."""

    axes: str
    stages: int  # how many stages of the chain made it
    last: bool = False  # whether it is the last step alone


def read_onnx_layers(path: str | os.PathLike[str]) -> dict[str, Layer]:
    """The recurrent nodes of an ``.onnx`` file by their names.

    Raises:
        ModelFileError: the file is no such file, truncated or damaged.
        OptionError: an opset before 7 or after those that ``onnx`` knows, or an attribute that no cell has.
    """
    graph = Graph(path)
    return {name: graph.layer(node) for name, node in graph.recurrent().items()}


def read_onnx_model(path: str | os.PathLike[str]) -> Chain:
    """An ``.onnx`` file as a chain: LSTM, GRU, RNN, MatMul, Add, Gemm and Relu, and what moves axes between them.

    Raises:
        ModelFileError: the file is no such file, truncated or damaged.
        OptionError: an operator or attribute that the runtime does not know, or no chain.
    """
    return _Walk(Graph(path)).run()


class _Walk:
    """Follows the input through the graph, and appends what it meets to a chain."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.chain = graph, Chain()
        self.values: dict[str, Value] = {}
        self.strange: dict[str, str] = {}
        self.time = ""
        self.steps: dict[str, Callable[[Any, str, Value], Value]] = {
            "Transpose": self._transpose,
            "Squeeze": self._squeeze,
            "Reshape": self._reshape,
            "Identity": lambda node, name, value: value,
            "Gather": self._gather,
            "Concat": self._concat,
            "MatMul": self._matmul,
            "Add": self._add,
            "Gemm": self._gemm,
            "Relu": self._relu,
        }

    def run(self) -> Chain:
        """The chain of the whole graph."""
        self.values[self._input()] = Value(f"{_FIRST}{_SECOND}F", 0)
        for number, node in enumerate(self.graph.graph.node):
            name = node.name or f"{node.op_type.lower()}_{number}"
            met = [value for value in node.input if value in self.values]
            strange = next((self.strange[value] for value in node.input if value in self.strange), None)
            if strange:
                self.strange |= dict.fromkeys(node.output, strange)
            elif node.op_type in ONNX_CELLS and node.input[0] in met:
                self._recurrent(node, name, self._front(name, node.input[0]))
            elif met and node.op_type in self.steps:
                self.values[node.output[0]] = self.steps[node.op_type](node, name, self._front(name, met[-1]))
            elif met and node.op_type != "Shape":
                self.strange |= dict.fromkeys(node.output, f"{node.op_type} {name!r}")
        self._finish()
        return self.chain

    def _input(self) -> str:
        """The graph's input that a recurrent node reads as its sequence, directly or not."""
        given = [value.name for value in self.graph.graph.input if value.name not in self.graph.constants]
        for node in self.graph.recurrent().values():
            source = node.input[0]
            while source not in given and source in self.graph.makers and self.graph.makers[source].input:
                source = next((i for i in self.graph.makers[source].input if i not in self.graph.constants), "")
            if source in given:
                return source
        raise OptionError(f"{self.graph.path} has no LSTM, GRU or RNN that reads an input of the graph")

    def _front(self, name: str, source: str) -> Value:
        """The value that a node reads, if nothing was computed after it."""
        value = self.values[source]
        if value.stages != self.chain.length:
            raise OptionError(f"the graph is no chain: {name!r} reads {source!r}, which others read too")
        return value

    def _recurrent(self, node: Any, name: str, value: Value) -> None:
        layer, named = self.graph.layer(node), self.graph.named_inputs(node)
        batch_first = layer.call["layout"] == 1
        if len(value.axes) != 3 or value.axes[2] != "F" or value.last:
            raise OptionError(f"{name!r} does not read a sequence of features")
        time, batch = (value.axes[1], value.axes[0]) if batch_first else (value.axes[0], value.axes[1])
        if self.time not in ("", time):
            raise OptionError(f"{name!r} takes for time what another recurrent node takes for the batch")
        self.time = time
        if "sequence_lens" in named:
            self.chain.notes.append(f"{name}: sequence_lens has no counterpart; give every sequence at its own length")
        self.chain.add_recurrent(name, layer, self._first_states(name, layer, named))
        made = self.chain.length
        values = [
            Value(f"{batch}{time}DF" if batch_first else f"{time}D{batch}F", made),
            Value(f"{batch}DF" if batch_first else f"D{batch}F", made, last=True),
        ]
        self.values |= {name: value for name, value in zip(node.output, values, strict=False) if name}
        self.strange |= {name: f"the cell state of {node.name!r}" for name in node.output[2:] if name}

    def _first_states(self, name: str, layer: Layer, named: dict[str, str]) -> dict[str, Array]:
        """Learned states ``(D, R)`` by letter; none where they are zero or come from outside."""
        found: dict[str, Array] = {}
        for letter in "hc":
            source = named.get(f"initial_{letter}", "")
            if not source or self.graph.is_zero(source):
                continue
            if source in {value.name for value in self.graph.graph.input}:
                self.chain.notes.append(
                    f"{name}: initial_{letter} is an input of the graph; here it is a stream's state"
                )
                continue
            state = self.graph.spread_constant(source)
            if state is None or state.ndim != 3 or state.shape[1] != 1:
                raise OptionError(
                    f"{name!r} starts from an initial_{letter} that is neither zero nor one state for all rows"
                )
            found[letter] = state[:, 0]
        if not found:
            return found
        spec = layer.spec
        zeros = {name: np.zeros((spec.num_directions, *shape)) for name, shape in spec.state_shapes().items()}
        return zeros | found

    def _transpose(self, node: Any, name: str, value: Value) -> Value:
        order = self.graph.attributes(node).get("perm") or [*range(len(value.axes))][::-1]
        return value._replace(axes="".join(value.axes[k] for k in order))

    def _squeeze(self, node: Any, name: str, value: Value) -> Value:
        axes = self._axes(node, 1)
        if axes is None or [value.axes[k] for k in axes] != ["D"] or self._directions() != 1:
            raise OptionError(f"{name!r} squeezes something else than the axis of one direction")
        return value._replace(axes=value.axes.replace("D", ""))

    def _reshape(self, node: Any, name: str, value: Value) -> Value:
        shape = self.graph.constants.get(node.input[1])
        if shape is None or not value.axes.endswith("DF") or len(shape) != len(value.axes) - 1 or shape[-1] == 0:
            raise OptionError(f"{name!r} reshapes otherwise than by joining the directions of one step")
        return value._replace(axes=value.axes.replace("DF", "F"))

    def _gather(self, node: Any, name: str, value: Value) -> Value:
        """The last step, or the last layer's state."""
        axis, index = self.graph.attributes(node).get("axis", 0), self.graph.constants.get(node.input[1])
        letter = value.axes[axis]
        if index is None or index.ndim or int(index) != -1:
            raise OptionError(f"{name!r} gathers something else than the last step")
        if letter == self.time:
            if self._directions() == 2:
                raise OptionError(f"{name!r} takes the last step of both directions, which is no single step's answer")
            return value._replace(axes=value.axes.replace(letter, ""), last=True)
        if letter == "L" or (letter == "D" and self._directions() == 1):
            return value._replace(axes=value.axes.replace(letter, ""))
        raise OptionError(f"{name!r} gathers something else than the last step")

    def _concat(self, node: Any, name: str, value: Value) -> Value:
        """The states of several layers, of which the last is worth following."""
        if self.graph.attributes(node)["axis"] or not value.last or self._directions() != 1 or value.axes[0] != "D":
            raise OptionError(f"{name!r} joins something else than the states of layers")
        return value._replace(axes="L" + value.axes[1:])

    def _matmul(self, node: Any, name: str, value: Value) -> Value:
        weight = self.graph.constants.get(node.input[1])
        if weight is None or weight.ndim != 2 or not value.axes.endswith("F"):
            raise OptionError(f"{name!r} multiplies by something else than one constant matrix")
        return self._linear(name, value, weight.T, None)

    def _add(self, node: Any, name: str, value: Value) -> Value:
        bias = next((self.graph.constants[other] for other in node.input if other in self.graph.constants), None)
        if bias is None or bias.ndim != 1 or not self.chain.add_bias(bias):
            raise OptionError(f"{name!r} adds something else than the bias of a matrix product")
        return value

    def _gemm(self, node: Any, name: str, value: Value) -> Value:
        options = self.graph.attributes(node)
        matrices = [self.graph.constants.get(other) for other in node.input[1:]]
        plain = options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0 and not options.get("transA", 0)
        if not plain or any(matrix is None for matrix in matrices) or len(value.axes) != 2 or value.axes[1] != "F":
            raise OptionError(f"{name!r} is another Gemm than a constant matrix and bias on features")
        weight, *bias = matrices
        return self._linear(name, value, weight if options.get("transB", 0) else weight.T, bias[0] if bias else None)  # pyright: ignore

    def _relu(self, node: Any, name: str, value: Value) -> Value:
        self.chain.add(name, "relu")
        return value._replace(stages=self.chain.length)

    def _linear(self, name: str, value: Value, weight: Array, bias: Array | None) -> Value:
        if "D" in value.axes:
            raise OptionError(f"{name!r} reads the directions apart")
        self.chain.add_linear(name, weight, bias if bias is None else bias.reshape(-1))
        return value._replace(stages=self.chain.length)

    def _axes(self, node: Any, position: int) -> list[int] | None:
        """An operator's axes: an attribute before opset 13, an input since."""
        if len(node.input) > position:
            axes = self.graph.constants.get(node.input[position])
            return None if axes is None else [int(axis) for axis in axes]
        return self.graph.attributes(node).get("axes")

    def _directions(self) -> int:
        """Of the recurrent layer met last."""
        return self.chain.last_cell.num_directions

    def _finish(self) -> None:
        """The first output of the graph must be what the chain ends with."""
        output = self.graph.graph.output[0].name
        if output in self.strange:
            raise OptionError(
                f"the output {output!r} goes through {self.strange[output]}, which no stage of lstmkit does"
            )
        if output not in self.values:
            raise OptionError(f"the output {output!r} does not depend on the input {self._input()!r}")
        value = self._front("the output", output)
        batch = (_SECOND if self.time == _FIRST else _FIRST) if self.time else ""
        names = {self.time: "T", batch: "B"}
        axes = "".join(names.get(letter, letter) for letter in value.axes)
        joined = axes.replace("D", "")
        if joined not in ("TBF", "BTF", "BF") or ("D" in axes and value.last and self._directions() == 2):
            raise OptionError(f"the output {output!r} has the axes {axes}, which are no step's features")
        self.chain.input_axes = "TBF" if self.time == _FIRST else "BTF"
        self.chain.output_axes = axes
        if value.last:
            self.chain.notes.append(f"{output}: the last step alone became an answer at every step; take the last one")
