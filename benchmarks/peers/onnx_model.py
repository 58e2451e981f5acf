"""A case as an ONNX model of one LSTM node; sequences time-major."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.cases import Case
from benchmarks.data import Array, Data

# torch has the gates i f g o, ONNX i o f c.
_ORDER = (0, 3, 1, 2)


def onnx_model(case: Case, data: Data) -> bytes:
    """The model's bytes: input ``x (T, B, I)``, output ``y (T, D, B, H)``."""
    T, B, I, H = case.sizes  # noqa: E741
    D = 1 + case.bidirectional
    weights = {
        "W": np.stack([_reorder(data.parameters[f"weight_ih{s}"]) for s in data.spec.layer_suffixes(0)]),
        "R": np.stack([_reorder(data.parameters[f"weight_hh{s}"]) for s in data.spec.layer_suffixes(0)]),
        "B": np.stack(
            [
                np.concatenate([_reorder(data.parameters[f"{name}{s}"]) for name in ("bias_ih", "bias_hh")])
                for s in data.spec.layer_suffixes(0)
            ]
        ),
    }
    node = helper.make_node(
        "LSTM", ["x", "W", "R", "B"], ["y"], hidden_size=H, direction="bidirectional" if D == 2 else "forward"
    )
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [T, B, I])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [T, D, B, H])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _reorder(value: Array) -> Array:
    parts = np.split(value, 4)
    return np.ascontiguousarray(np.concatenate([parts[k] for k in _ORDER]))


def output_of(y: Array) -> Array:
    """``y (T, D, B, H)`` as ``(T, B, D*H)``."""
    T, D, B, H = y.shape
    return y.transpose(0, 2, 1, 3).reshape(T, B, D * H)
