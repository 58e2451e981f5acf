"""OpenVINO on the same ONNX model, in float32 throughout."""

import openvino

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.peers import Prepared
from benchmarks.peers.onnx_model import onnx_model, output_of
from lstmkit.core import native_status


def prepare(case: Case, data: Data) -> Prepared:
    """A compiled model on the processors of this process; inference only."""
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # by itself it computes in bfloat16 where the machine has it
        "INFERENCE_NUM_THREADS": native_status().threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(core.read_model(onnx_model(case, data)), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(data.x))

    def run() -> openvino.Tensor:
        request.infer()
        return request.get_output_tensor()

    return Prepared(
        run=run,
        read=lambda tensor: {"output": output_of(tensor.data)},
        note=f"openvino {openvino.__version__.partition('-')[0]}",
    )
