"""sLSTM, mLSTM, minLSTM and minGRU: steps worked by hand, and numbers that would overflow."""

from typing import Any

import pytest
import torch
from helpers.hostile import close

from lstmkit import nn
from lstmkit.spec import OptionError


def fill(layer: Any, **values: Any) -> Any:
    """Parameters by name; those that are not named become zero."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            given = values.get(name.removesuffix("_l0"), 0.0)
            parameter.copy_(torch.as_tensor(given, dtype=parameter.dtype).expand(parameter.shape))
    return layer


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


@pytest.mark.square("by hand", "slstm", engine="reference")
def test_slstm__matches_hand_worked_steps() -> None:
    """i = e^x, f = 1/2, z = tanh(1), o = 1/2, for x = 0 and then log 3.

    c = z, n = 1, so h = z / 2; then c = z/2 + 3z, n = 1/2 + 3, so h = z / 2 again: a mean of equal things.
    m is max(log i) = 0, then max(log(1/2) + 0, log 3) = log 3; kept are c / 3 = 7z/6 and n / 3 = 7/6.
    """
    layer = fill(nn.SLSTM(1, 1, dtype=torch.float64), weight_ih=column(1, 0, 0, 0), bias_ih=[0.0, 0.0, 1.0, 0.0])
    output, (h, c, n, m), trace = layer(column(0.0, 3.0).log().clamp(min=0.0), return_gates=True)
    z = torch.tensor(1.0, dtype=torch.float64).tanh()
    close(output, (z / 2).expand(2, 1))
    close(torch.cat([h, c, n, m], 1), torch.stack([z / 2, z * 7 / 6, z / z * 7 / 6, torch.log(z / z * 3)])[None])
    close(trace.gates[0]["i"], column(1, 1))
    close(trace.gates[0]["f"], column(1, 1 / 6))


@pytest.mark.square("by hand", "mlstm", engine="reference")
def test_mlstm__matches_hand_worked_steps__every_form() -> None:
    """One head of 2 units. Value (1, 2) is stored under key (1, 0), then (3, 4) under (0, 1), with i = 2 and f = 1/2.

    x = 1 and x = -1 choose; q = (1, 1) reads both: C q = 1/2 * 2 * (1, 2) + 2 * (3, 4) = (7, 10), n q = 1/2 * 2 + 2.
    The first step reads 2 * (1, 2) over 2. o = 1/2.
    """
    root = 2**0.5
    weight = torch.zeros(8, 1, dtype=torch.float64)
    bias = torch.tensor([1, 1, 0.5, 0.5, 2, 3, 0, 0], dtype=torch.float64)
    weight[2:6, 0] = torch.tensor([0.5 * root, -0.5 * root, -1, -1], dtype=torch.float64)
    for form in ("recurrent", "chunkwise", "parallel"):
        layer = nn.MLSTM(2 - 1, 2, form=form, dtype=torch.float64)
        log_two = torch.tensor(2.0, dtype=torch.float64).log()
        fill(layer, weight_qkvo=weight, bias_qkvo=bias, bias_if=torch.stack([log_two, log_two * 0]))
        output, (C, n, m) = layer(column(1.0, -1.0))
        close(output, torch.tensor([[0.5, 1.0], [7 / 6, 10 / 6]], dtype=torch.float64))
        true_C = torch.tensor([[1.0, 6.0], [2.0, 8.0]], dtype=torch.float64)
        close(C[0, 0] * m.exp(), true_C)
        close(n[0] * m.exp(), torch.tensor([[1.0, 2.0]], dtype=torch.float64))


@pytest.mark.square("by hand", "minlstm", "mingru", engine="reference")
def test_minimal_cells__match_hand_worked_steps() -> None:
    """minLSTM: f = 1/2 and i = 1/4, so 2/3 old and 1/3 new. minGRU: z = 1/4. The new is x = 3, then 6."""
    quarter = torch.tensor(1 / 3, dtype=torch.float64).log()
    for form in ("recurrent", "parallel"):
        lstm = nn.MinLSTM(1, 1, form=form, dtype=torch.float64)
        fill(lstm, weight_ih=column(0, 0, 1), bias_ih=torch.stack([quarter, quarter * 0, quarter * 0]))
        close(lstm(column(3, 6), column(0)[None, 0])[0], column(1, 2 / 3 + 2))
        gru = nn.MinGRU(1, 1, form=form, dtype=torch.float64)
        fill(gru, weight_ih=column(0, 1), bias_ih=torch.stack([quarter, quarter * 0]))
        close(gru(column(3, 6), column(4)[None, 0])[0], column(3.75, 0.75 * 3.75 + 1.5))


@pytest.mark.parametrize("size", [100.0, -100.0, 1e4, -1e4])
@pytest.mark.parametrize(
    "layer",
    [
        nn.SLSTM(2, 4),
        nn.MLSTM(2, 4, num_heads=2),
        nn.MLSTM(2, 4, num_heads=2, form="recurrent"),
        nn.MinLSTM(2, 4),
        nn.MinLSTM(2, 4, form="recurrent"),
    ],
    ids=lambda layer: repr(layer) + layer.__dict__.get("form", ""),
)
def test_gates__never_overflow__huge_gates_forwards_and_backwards(layer: Any, size: float) -> None:
    with torch.no_grad():
        for name in ("bias_ih_l0", "bias_if_l0"):
            if hasattr(layer, name):
                getattr(layer, name).fill_(size)
    x = torch.randn(6, 3, 2, requires_grad=True)
    output, state = layer(x, lengths=[6, 2, 4])
    loss = output.square().sum() + sum(value.sum() for value in (state if isinstance(state, tuple) else [state]))
    grads = torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True)
    assert output.isfinite().all()
    assert all(grad.isfinite().all() for grad in grads if grad is not None)


def test_heads__never_mix__slstm_and_mlstm() -> None:
    """The second head's state changes nothing in the first."""
    for layer, states in ((nn.SLSTM(3, 4, num_heads=2), 4), (nn.MLSTM(3, 4, num_heads=2), 3)):
        x = torch.randn(5, 1, 3)
        _, first = layer(x)
        changed = [value.clone() for value in first]
        for value in changed[: states - 1]:
            value[:, :, value.shape[2] // 2 :] += 0.5
        left, right = layer(x, tuple(first))[0], layer(x, tuple(changed))[0]
        assert torch.equal(left[..., :2], right[..., :2])
        assert not torch.equal(left[..., 2:], right[..., 2:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.SLSTM(3, 6, num_heads=4), "num_heads must divide hidden_size, not 4 into 6"),
        (lambda: nn.SLSTM(3, 6, num_heads=0), "num_heads must be a whole number of at least 1"),
        (lambda: nn.MLSTM(3, 6, form="fast"), "form must be one of chunkwise, parallel, recurrent"),
        (lambda: nn.MinGRU(3, 6, chunk_steps=0), "chunk_steps must be a whole number of at least 1"),
        (lambda: nn.MinLSTM(3, 6)(torch.zeros(4, 1, 3), return_cells=True), "no cell state"),
    ],
)
def test_layer__rejects_impossible(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
