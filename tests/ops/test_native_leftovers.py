"""The core takes its memory from a pool and never clears it; what an earlier run left there must not show."""

from typing import Any

import pytest
import torch
from helpers.hostile import close
from torch import Tensor

from lstmkit import nn
from lstmkit.ops import native_available

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")


def run(layer: nn.LSTM, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    output, (h, c) = layer(x)
    total = output.sin().sum() + h.sum() + c.square().sum()
    return [output, h, c, *torch.autograd.grad(total, [x, *layer.parameters()])]


@pytest.mark.parametrize("batch", [1, 5, 31, 61])
@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"bidirectional": True}, {"proj_size": 1}, {"proj_size": 3}], ids=str
)
def test_native__never_reads__what_memory_held_before(options: dict[str, Any], batch: int) -> None:
    layer = nn.LSTM(1, 4, engine="native", **options)
    reference = nn.LSTM(1, 4, engine="reference", **options)
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(3, batch, 1)
    for steps in (1, 3, 4):
        run(layer, torch.full((steps, batch, 1), float("nan")))
    for left, right in zip(run(layer, x), run(reference, x), strict=True):
        close(left, right)
