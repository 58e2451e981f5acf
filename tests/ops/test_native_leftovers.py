"""The core takes its memory from a pool and never clears it; what an earlier run left there must not show."""

from typing import Any

import pytest
import torch
from helpers.hostile import close
from torch import Tensor

from lstmkit import nn
from lstmkit.core import native_module
from lstmkit.ops import native_available

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")


def run(layer: nn.LSTM, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    output, (h, c) = layer(x)
    total = output.sin().sum() + h.sum() + c.square().sum()
    return [output, h, c, *torch.autograd.grad(total, [x, *layer.parameters()])]


def poison_pool() -> None:
    """Leave NaN in memory of every size that a small layer takes."""
    core: Any = native_module()
    held = [torch.from_dlpack(core.empty([1 << k])) for k in range(4, 16) for _ in range(12)]
    for values in held:
        values.fill_(float("nan"))


@pytest.mark.parametrize("batch", [1, 5, 31, 61])
@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"bidirectional": True}, {"proj_size": 1}, {"proj_size": 3}], ids=str
)
def test_native__never_reads__what_memory_held_before(options: dict[str, Any], batch: int) -> None:
    layer = nn.LSTM(1, 4, engine="native", **options)
    reference = nn.LSTM(1, 4, engine="reference", **options)
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(3, batch, 1)
    expected = run(reference, x)
    poison_pool()
    for left, right in zip(run(layer, x), expected, strict=True):
        close(left, right)
