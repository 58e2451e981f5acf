"""``python -m benchmarks.bfloat16``: how wrong the forget gate's gradient is in bfloat16, the longer it remembers.

One layer, the same rounded numbers in our LSTM, in torch's, and in torch's in float64. A forget gate of
T / (T + 1) remembers T steps. With ``--write`` the table goes into docs/explanation/core.md.
"""

import argparse
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import lstmkit.nn
from benchmarks.pages import CORE, write_between_markers

STEPS, BATCH, INPUTS, HIDDEN = 100, 16, 8, 32
REMEMBERED = (1, 10, 100, 300, 1000)


def forget_gradient(layer: nn.Module, x: Tensor, weights: Tensor) -> Tensor:
    """Of the forget gate's recurrent weights."""
    parameter = layer.get_parameter("weight_hh_l0")
    grad = torch.autograd.grad(layer(x)[0], parameter, weights)[0]
    return grad[HIDDEN : 2 * HIDDEN].double()


def errors(remembered: int) -> list[float]:
    """Of ours, of torch's, and of ours in float32 that keeps gates in 16 bits, relative to float64's norm."""
    torch.manual_seed(0)
    start = torch.nn.LSTM(INPUTS, HIDDEN)
    with torch.no_grad():
        for biases in (start.bias_ih_l0, start.bias_hh_l0):
            biases[: 2 * HIDDEN] = 0
        start.bias_ih_l0[:HIDDEN], start.bias_ih_l0[HIDDEN : 2 * HIDDEN] = -math.log(remembered), math.log(remembered)
    rounded = {name: value.bfloat16().float() for name, value in start.state_dict().items()}
    x, weights = (torch.randn(STEPS, BATCH, size).bfloat16() for size in (INPUTS, HIDDEN))

    def gradient(layer: nn.Module, dtype: torch.dtype) -> Tensor:
        layer.load_state_dict(rounded)
        return forget_gradient(layer.to(dtype), x.to(dtype), weights.to(dtype))

    right = gradient(torch.nn.LSTM(INPUTS, HIDDEN), torch.float64)
    found = (
        gradient(lstmkit.nn.LSTM(INPUTS, HIDDEN), torch.bfloat16),
        gradient(torch.nn.LSTM(INPUTS, HIDDEN), torch.bfloat16),
        gradient(lstmkit.nn.LSTM(INPUTS, HIDDEN, saved_dtype=torch.bfloat16), torch.float32),
    )
    return [float((each - right).norm() / right.norm()) for each in found]


def table() -> Iterator[str]:
    """One line per memory."""
    heads = ("steps remembered", "bfloat16", "torch in bfloat16", "float32, gates kept in bfloat16")
    yield f"| {' | '.join(heads)} |"
    yield "|" + " --- |" * len(heads)
    for remembered in REMEMBERED:
        yield f"| {remembered} | " + " | ".join(f"{100 * error:.1f} %" for error in errors(remembered)) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/core.md")
    wanted = parser.parse_args()
    text = "\n".join(table())
    print(text)
    if wanted.write:
        write_between_markers(CORE, "bfloat16", f"\n{text}\n")
