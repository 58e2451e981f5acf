"""How weights start, as plain functions that fill tensors in place. Gate order i, f, g, o."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lstmkit.spec import OptionError

GATES = ("i", "f", "g", "o")
INITIALISERS = ("torch", "orthogonal", "chrono", "keras")

# What does not start uniformly: names begin so, and all numbers are this one. A highway lets most pass by at first.
_CONSTANTS = {"gain_": 1.0, "bias_c_": 0.0, "bias_skip_": -1.0, "h_0": 0.0, "c_0": 0.0, "gates_0": 0.0}


def uniform_(parameter: Tensor, hidden_size: int) -> Tensor:
    """torch's choice: uniform in ``±1/sqrt(H)``."""
    bound = 1.0 / math.sqrt(hidden_size)
    return torch.nn.init.uniform_(parameter, -bound, bound)


def plain_(name: str, parameter: Tensor, hidden_size: int) -> Tensor:
    """The start of a parameter by its name: torch's choice, or the constant of those that torch does not have."""
    for beginning, value in _CONSTANTS.items():
        if name.startswith(beginning):
            return torch.nn.init.constant_(parameter, value)
    return uniform_(parameter, hidden_size)


@torch.no_grad()
def keras_(input: Tensor, recurrent: Tensor) -> None:
    """Keras's choice: Glorot's uniform for ``input (4H, I)``, orthogonal columns for all of ``recurrent (4H, R)``.

    Source: keras.layers.LSTM; Glorot & Bengio, AISTATS 2010.
    """
    torch.nn.init.xavier_uniform_(input)
    torch.nn.init.orthogonal_(recurrent)


@torch.no_grad()
def keras_biases_(bias_ih: Tensor, bias_hh: Tensor, gates: Sequence[str] = GATES) -> None:
    """Keras's choice: zero, and 1 for the forget gate, where there is one."""
    bias_ih.zero_()
    bias_hh.zero_()
    if "f" in gates:
        forget_bias_(bias_ih, bias_hh, 1.0, gates)


@torch.no_grad()
def orthogonal_(recurrent: Tensor, num_gates: int = len(GATES)) -> Tensor:
    """An orthogonal block per gate for ``recurrent (4H, R)``.

    Source: Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in
        deep linear neural networks", ICLR 2014.
    """
    for block in recurrent.chunk(num_gates):
        torch.nn.init.orthogonal_(block)
    return recurrent


@torch.no_grad()
def forget_bias_(bias_ih: Tensor, bias_hh: Tensor, value: float, gates: Sequence[str] = GATES) -> None:
    """Let the two biases ``(4H,)`` of the forget gate add up to ``value``; above 0 the cell remembers from the start.

    Source: Gers, Schmidhuber & Cummins (2000); Jozefowicz, Zaremba & Sutskever, ICML 2015 (value 1).
    """
    block = gates.index("f")
    bias_ih.chunk(len(gates))[block].fill_(value)
    bias_hh.chunk(len(gates))[block].zero_()


@torch.no_grad()
def chrono_(bias_ih: Tensor, bias_hh: Tensor, t_max: float, gates: Sequence[str] = GATES) -> None:
    """Spread the cells' memories over 1 to ``t_max`` steps: ``b_f = log U(1, t_max - 1)``, ``b_i = -b_f``.

    Where one of the two gates has no biases, coupled to the other, this is the other's alone.

    Units:
        t_max in time steps: the longest dependence expected in the data.

    Raises:
        OptionError: ``t_max`` is not above 2.

    Source: Tallec & Ollivier, "Can recurrent neural networks warp time?", ICLR 2018, section 3.
    """
    check_t_max(t_max)
    blocks = dict(zip(gates, bias_ih.chunk(len(gates)), strict=True))
    others = dict(zip(gates, bias_hh.chunk(len(gates)), strict=True))
    spans = torch.empty_like(blocks["f" if "f" in blocks else "i"]).uniform_(1.0, t_max - 1.0).log_()
    for gate, value in (("f", spans), ("i", -spans)):
        if gate in gates:
            blocks[gate].copy_(value)
            others[gate].zero_()


def check_t_max(t_max: float | None) -> None:
    """Raise an OptionError unless ``t_max`` spans at least two steps."""
    if t_max is None or not t_max > 2:
        raise OptionError(f"init='chrono' needs t_max, the longest dependence in steps, above 2; not {t_max!r}")
