"""Relatives of the LSTM: their papers' equations, worked out by hand for one unit or two, beside the code."""

from math import e, exp, log, tanh
from typing import Any

import pytest
import torch
from helpers.hostile import close
from torch.nn.utils.rnn import pack_sequence

from lstmkit import nn
from lstmkit.spec import CellSpec, OptionError, ShapeError


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def logit(p: float) -> float:
    return log(p / (1 - p))


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def fill(layer: Any, **values: Any) -> Any:
    """Parameters by name; those that are not named become zero."""
    unknown = set(values) - {name.removesuffix("_l0") for name, _ in layer.named_parameters()}
    assert not unknown
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(tensor(values.get(name.removesuffix("_l0"), 0.0)).expand(parameter.shape))
    return layer


@pytest.mark.square("by hand", "janet", "janet beta", engine="reference")
def test_janet__matches_hand_worked_step() -> None:
    """f = 3/4, so s = log 3; with beta = log 3 the share of the new is 1 - sigmoid(0) = 1/2. g = tanh(1), h = 2."""
    layer = fill(nn.JANET(1, 1, beta=log(3), dtype=torch.float64), bias_ih=[log(3), 1.0])
    output, h = layer(tensor([[5.0]]), tensor([[2.0]]))
    close(output, tensor([[1.5 + tanh(1) / 2]]))
    close(h, output)


@pytest.mark.square("by hand", "multiplicative", engine="reference")
def test_multiplicative__matches_hand_worked_step() -> None:
    """m = (2 x)(3 h) = 6 for x = 2 and h = 1/2; g sees m / 6, i and o are 1/2, f is 3/4, c was 1."""
    layer = fill(
        nn.MultiplicativeLSTM(1, 1, dtype=torch.float64),
        weight_im=[[2.0]],
        weight_hm=[[3.0]],
        weight_mh=[[0.0], [0.0], [1 / 6], [0.0]],
        bias_ih=[0.0, log(3), 0.0, 0.0],
    )
    output, (_, c) = layer(tensor([[2.0]]), (tensor([[0.5]]), tensor([[1.0]])))
    close(c, tensor([[0.75 + tanh(1) / 2]]))
    close(output, tensor([[tanh(0.75 + tanh(1) / 2) / 2]]))


@pytest.mark.square("by hand", "mogrifier", "mogrifier rank", "mogrifier one", engine="reference")
@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("rank", [0, 2])
def test_mogrifier__matches_hand_worked_rounds(rounds: int, rank: int) -> None:
    """Q = R = log 3 and x = h = 1: x <- 2 * 3/4 = 3/2, h <- 2 sigmoid(3/2 log 3), x <- 2 sigmoid(log 3 * h) * 3/2.

    The candidate alone sees them, as x + h; i, f and o are 1/2 and c was 0. Of rank 2, log 3 = 1 * log 2 + 1 * log 3/2.
    """
    factors = {"left": [[1.0, 1.0]], "right": [[log(2)], [log(1.5)]]}
    names = ["q", "r"] if rounds > 1 else ["q"]
    weights: dict[str, Any] = {f"weight_{name}_{side}": value for name in names for side, value in factors.items()}
    if not rank:
        weights = dict.fromkeys(["weight_q", "weight_r"], log(3))
    layer = fill(
        nn.MogrifierLSTM(1, 1, rounds=rounds, rank=rank, dtype=torch.float64),
        **weights,
        weight_ih=[[0.0], [0.0], [1.0], [0.0]],
        weight_hh=[[0.0], [0.0], [1.0], [0.0]],
    )
    _, (_, c) = layer(tensor([[1.0]]), (tensor([[1.0]]), tensor([[0.0]])))
    h = 2 * sigmoid(1.5 * log(3)) if rounds == 3 else 1.0
    x = 2 * sigmoid(log(3) * h) * 1.5 if rounds == 3 else 1.5
    close(c, tensor([[tanh(x + h) / 2]]))


@pytest.mark.square("by hand", "on_lstm", "on_lstm chunks", engine="reference")
@pytest.mark.parametrize("chunk_size", [1, 3])
def test_on_lstm__matches_hand_worked_step(chunk_size: int) -> None:
    """Two chunks of equal units. Masters: f = cumax(log 1, log 3) = (1/4, 1), i = 1 - cumax(log 3, log 1) = (1/4, 0).

    Overlap (1/16, 0); i = f = o = 1/2, so f_hat = (1/32 + 3/16, 1) and i_hat = (1/32 + 3/16, 0); c was (1, 1).
    """
    n = chunk_size
    layer = fill(
        nn.ONLSTM(1, 2 * n, chunk_size=n, dtype=torch.float64),
        bias_ih=[*[0.0] * 4 * n, *[1.0] * 2 * n, *[0.0] * 2 * n],
        bias_master_ih=[0.0, log(3), log(3), 0.0],
    )
    state = torch.zeros(1, 2 * n, dtype=torch.float64), torch.ones(1, 2 * n, dtype=torch.float64)
    _, (_, c), trace = layer(tensor([[0.0]]), state, return_gates=True)
    close(c, tensor([[*[7 / 32 * (1 + tanh(1))] * n, *[1.0] * n]]))
    close(trace.gates[0]["master_f"], tensor([[*[0.25] * n, *[1.0] * n]]))
    close(trace.gates[0]["master_i"], tensor([[*[0.25] * n, *[0.0] * n]]))


@pytest.mark.square("by hand", "phased leak", engine="reference")
def test_phased__matches_hand_worked_openness() -> None:
    """Period 4, shift 1, open for half of it: k rises over (1, 2), falls over (2, 3), and leaks 1/10 of the phase."""
    layer = fill(nn.PhasedLSTM(1, 1, leak=0.1, dtype=torch.float64), log_period=log(4), shift=1.0)
    times = tensor([1.5, 2.0, 2.5, 4.0, 5.25])
    *_, trace = layer(torch.zeros(5, 1, dtype=torch.float64), times=times, return_gates=True)
    close(trace.gates[0]["k"], tensor([[0.5], [1.0], [0.5], [0.1 * 0.75], [0.25]]))


@pytest.mark.square("by hand", "phased", engine="reference")
def test_phased__matches_hand_worked_step() -> None:
    """Half open: between the old (h = 1, c = 2) and an LSTM's step, with all gates 1/2 and g = tanh(1)."""
    layer = fill(nn.PhasedLSTM(1, 1, dtype=torch.float64), log_period=log(4), bias_ih=[0.0, 0.0, 1.0, 0.0])
    output, (_, c) = layer(tensor([[0.0]]), (tensor([[1.0]]), tensor([[2.0]])), times=tensor([0.5]))
    fresh = 1 + tanh(1) / 2
    close(c, tensor([[1 + fresh / 2]]))
    close(output, tensor([[0.5 + tanh(fresh) / 4]]))


@pytest.mark.square("by hand", "time_aware", engine="reference")
def test_time_aware__matches_hand_worked_steps() -> None:
    """Of c = 1 the part tanh(1) is short-term; after an interval of e^2 - e half of it is left. f = 1/2, g = 0."""
    layer = fill(nn.TimeAwareLSTM(1, 1, dtype=torch.float64), weight_d=[[1.0]])
    state = tensor([[0.0]]), tensor([[1.0]])
    _, (_, c) = layer(tensor([[0.0]]), state, intervals=tensor([e**2 - e]))
    close(c, tensor([[(1 - tanh(1) / 2) / 2]]))
    _, (_, c) = layer(tensor([[0.0]]), state, intervals=tensor([0.0]))
    close(c, tensor([[0.5]]))


@pytest.mark.square("by hand", "entity_aware", "entity_aware static", engine="reference")
@pytest.mark.parametrize("static", [[2.0], [3.0, -1.0]], ids=str)
def test_entity_aware__matches_hand_worked_step(static: list[float]) -> None:
    """i = sigmoid(log 3) = 3/4 by the static features alone; f = o = 1/2, g = tanh(1), c was 2."""
    layer = nn.EALSTM(1, 1, static_size=len(static), dtype=torch.float64)
    layer = fill(layer, weight_sh=[[log(3) / 2] * len(static)], weight_ih=[[0.0], [1.0], [0.0]])
    output, (_, c) = layer(tensor([[1.0]]), (tensor([[0.0]]), tensor([[2.0]])), static=tensor(static))
    close(c, tensor([[1 + 0.75 * tanh(1)]]))
    close(output, tensor([[tanh(1 + 0.75 * tanh(1)) / 2]]))


@pytest.mark.square("by hand", "lstm1997", engine="reference")
def test_lstm1997__matches_hand_worked_steps() -> None:
    """i = o = 1/2; g = 4 * 3/4 - 2 = 1 for x = 1, -1 for x = -1: s is 1/2, 1, 1/2, and h is sigmoid(s) - 1/2."""
    layer = fill(nn.LSTM1997(1, 1, dtype=torch.float64), weight_ih=[[0.0], [log(3)], [0.0]])
    output, _, trace = layer(tensor([[1.0], [1.0], [-1.0]]), return_cells=True)
    close(trace.cells[0], tensor([[0.5], [1.0], [0.5]]))
    close(output, tensor([[sigmoid(s) - 0.5] for s in (0.5, 1.0, 0.5)]))


def test_lstm1997__matches_hand_worked_gradient__through_the_carousel_alone() -> None:
    """ds_3 / dx_1 is what x_1 does to s_1, whatever the recurrent weights are: i g' = 1/2 * 4 * 3/16 * log 3.

    The gates' share is zero, as their input weights are; the recurrent weights would carry the rest.
    """
    layer = fill(nn.LSTM1997(1, 1, dtype=torch.float64), weight_ih=[[0.0], [log(3)], [0.0]], weight_hh=0.9)
    x = tensor([[1.0], [0.3], [-1.0]]).requires_grad_()
    _, (h, s) = layer(x)
    (grad,) = torch.autograd.grad(s.sum(), x, retain_graph=True)
    close(grad[0], tensor([0.5 * 4 * 3 / 16 * log(3)]))
    weights = torch.autograd.grad(h.sum(), [layer.weight_hh_l0])
    assert all((value != 0).any() for value in weights)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.ONLSTM(3, 6, chunk_size=4), OptionError, "chunk_size must divide hidden_size, not 4 into 6"),
        (lambda: nn.JANET(3, 6, beta=float("nan")), OptionError, "beta must be a finite number, not nan"),
        (lambda: nn.MogrifierLSTM(3, 6, rounds=0), OptionError, "rounds must be a whole number of at least 1"),
        (lambda: nn.MogrifierLSTM(3, 6, rank=-1), OptionError, "rank must be a whole number of at least 0"),
        (lambda: nn.EALSTM(3, 6, static_size=0), OptionError, "static_size must be a whole number of at least 1"),
        (lambda: CellSpec(3, 6, cell="janet", rounds=2), OptionError, "'janet' has no option rounds; it has: beta"),
        (
            lambda: nn.EALSTM(3, 6, static_size=2)(torch.zeros(4, 5, 3), static=torch.zeros(5, 3)),
            ShapeError,
            r"static must have shape \(5, 2\), not \(5, 3\)",
        ),
        (
            lambda: nn.PhasedLSTM(3, 6, batch_first=True)(torch.zeros(5, 4, 3), times=torch.zeros(4, 5)),
            ShapeError,
            r"times must have shape \(4, 5\), not \(5, 4\), once time is first",
        ),
        (
            lambda: nn.TimeAwareLSTM(3, 6)(torch.zeros(4, 5, 3), intervals=[1.0]),
            ShapeError,
            "intervals must be a torch.Tensor",
        ),
        (
            lambda: nn.PhasedLSTM(3, 6)(pack_sequence([torch.zeros(4, 3)]), times=torch.zeros(4, 1)),
            OptionError,
            "combined with times",
        ),
    ],
)
def test_layer__rejects_impossible(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
