"""The state that goes on from call to call."""

from typing import Any

import pytest
import torch
from helpers.hostile import close
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from lstmkit import nn
from lstmkit.spec import ShapeError

LAYERS = {
    "lstm": lambda: nn.LSTM(3, 4, 2, dtype=torch.float64),
    "batch-first": lambda: nn.LSTM(3, 4, batch_first=True, dtype=torch.float64),
    "gates": lambda: nn.LSTM(3, 4, full_gate_recurrence=True, dtype=torch.float64),
    "gru": lambda: nn.GRU(3, 4, dtype=torch.float64),
    "torch": lambda: torch.nn.LSTM(3, 4, dtype=torch.float64),
}


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("name", LAYERS)
def test_carry__matches_one_call__and_cuts_the_gradient(name: str) -> None:
    layer: Any = LAYERS[name]()
    time = 1 if name == "batch-first" else 0
    x = draw(7, 3, 3).transpose(0, time).contiguous().requires_grad_()
    carry = nn.Carry(layer)
    outputs = [carry(chunk)[0] for chunk in x.split(3, time)]
    close(torch.cat(outputs, time).detach(), layer(x)[0].detach())
    (gradient,) = torch.autograd.grad(outputs[-1].sum(), x)
    assert (gradient.transpose(0, time)[:6] == 0).all()
    assert (gradient.transpose(0, time)[6] != 0).any()


def test_carry__equals_new_sequences__after_reset() -> None:
    layer, x = LAYERS["lstm"](), draw(4, 3, 3)
    carry = nn.Carry(layer)
    carry(x)
    carry.reset()
    close(carry(x)[0], layer(x)[0])
    carry.reset(torch.tensor([False, True, False]))
    output, alone, onward = carry(x)[0], layer(x)[0], layer(torch.cat([x, x]))[0][4:]
    close(output[:, 1], alone[:, 1])
    close(output[:, [0, 2]], onward[:, [0, 2]])


def test_carry__preserves_forms__unbatched_and_packed() -> None:
    layer, x = LAYERS["lstm"](), draw(4, 2, 3)
    carry = nn.Carry(layer)
    close(torch.cat([carry(part)[0] for part in x[:, 0].split(2)]), layer(x[:, 0])[0])
    carry.reset()
    packed = pack_sequence([x[:3, 0], x[:4, 1]], enforce_sorted=False)
    carry(packed)
    (output, _), (_, state) = carry(packed), layer(packed)
    close(output.data, layer(packed, state)[0].data)


def test_carry__rejects_other_rows() -> None:
    carry = nn.Carry(nn.LSTM(3, 4))
    carry(torch.zeros(2, 3, 3))
    with pytest.raises(ShapeError, match="the state of 3 rows is carried, but 2 came; call reset"):
        carry(torch.zeros(2, 2, 3))
    with pytest.raises(ShapeError, match=r"rows must be torch.bool of shape \(3,\)"):
        carry.reset(torch.tensor([True, False]))
