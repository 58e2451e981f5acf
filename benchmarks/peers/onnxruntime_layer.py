"""ONNX Runtime on one LSTM node."""

import onnxruntime

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.peers import Prepared
from benchmarks.peers.onnx_model import onnx_model, output_of
from lstmkit.core import native_status


def prepare(case: Case, data: Data) -> Prepared:
    """A session on the processors of this process; inference only."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = native_status().threads
    session = onnxruntime.InferenceSession(onnx_model(case, data), options, providers=["CPUExecutionProvider"])
    feed = {"x": data.x}
    return Prepared(
        run=lambda: session.run(None, feed),
        read=lambda result: {"output": output_of(result[0])},
        note=f"onnxruntime {onnxruntime.__version__}",
    )
