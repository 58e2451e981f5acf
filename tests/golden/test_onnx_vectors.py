"""The numbers of ONNX's node tests for its recurrent operators."""

import numpy as np
import pytest
import torch
from helpers.published import GOLDEN, Case, cases, read

from lstmkit import interop, nn

FILE = "onnx_node/rnn_node_tests.json"
TOLERANCE = 1e-6  # of float32 numbers of about 1
WEIGHTS = ("W", "R", "B", "P")


@cases(FILE, lambda case: True)
def test_node__matches_onnx_vectors(case: Case) -> None:
    arrays = {name: np.array(value) for name, value in case["inputs"].items()}
    given = {name: array for name, array in arrays.items() if name in WEIGHTS}
    taken = interop.from_onnx_node(case["op"], case["attributes"], given)
    call = nn.OnnxCall(nn.build(taken.spec, taken.parameters), **taken.call)
    outputs = call(**{name: torch.from_numpy(array) for name, array in arrays.items() if name not in WEIGHTS})
    for name, expected in case["expected"].items():
        actual = dict(zip(("Y", "Y_h", "Y_c"), outputs, strict=False))[name]
        torch.testing.assert_close(actual.detach(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=TOLERANCE)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the published vectors are not on this machine")
def test_onnx_cases__equal_count() -> None:
    operators = [case["op"] for case in read(FILE)]
    assert {operator: operators.count(operator) for operator in operators} == {"GRU": 4, "LSTM": 4, "RNN": 4}
