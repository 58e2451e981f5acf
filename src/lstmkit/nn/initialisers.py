"""How weights start, as plain functions that fill tensors in place. Gate order i, f, g, o."""

import math

import torch
from torch import Tensor

from lstmkit.spec import OptionError

NUM_GATES = 4
INITIALISERS = ("torch", "orthogonal", "chrono")


def uniform_(parameter: Tensor, hidden_size: int) -> Tensor:
    """torch's choice: uniform in ``±1/sqrt(H)``."""
    bound = 1.0 / math.sqrt(hidden_size)
    return torch.nn.init.uniform_(parameter, -bound, bound)


@torch.no_grad()
def orthogonal_(recurrent: Tensor) -> Tensor:
    """An orthogonal block per gate for ``recurrent (4H, R)``.

    Source: Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in
        deep linear neural networks", ICLR 2014.
    """
    for block in recurrent.chunk(NUM_GATES):
        torch.nn.init.orthogonal_(block)
    return recurrent


@torch.no_grad()
def forget_bias_(bias_ih: Tensor, bias_hh: Tensor, value: float) -> None:
    """Let the two biases ``(4H,)`` of the forget gate add up to ``value``; above 0 the cell remembers from the start.

    Source: Gers, Schmidhuber & Cummins (2000); Jozefowicz, Zaremba & Sutskever, ICML 2015 (value 1).
    """
    bias_ih.chunk(NUM_GATES)[1].fill_(value)
    bias_hh.chunk(NUM_GATES)[1].zero_()


@torch.no_grad()
def chrono_(bias_ih: Tensor, bias_hh: Tensor, t_max: float) -> None:
    """Spread the cells' memories over 1 to ``t_max`` steps: ``b_f = log U(1, t_max - 1)``, ``b_i = -b_f``.

    Units:
        t_max in time steps: the longest dependence expected in the data.

    Raises:
        OptionError: ``t_max`` is not above 2.

    Source: Tallec & Ollivier, "Can recurrent neural networks warp time?", ICLR 2018, section 3.
    """
    check_t_max(t_max)
    i, f, _, _ = bias_ih.chunk(NUM_GATES)
    f.uniform_(1.0, t_max - 1.0).log_()
    i.copy_(-f)
    for gate in bias_hh.chunk(NUM_GATES)[:2]:
        gate.zero_()


def check_t_max(t_max: float | None) -> None:
    """Raise an OptionError unless ``t_max`` spans at least two steps."""
    if t_max is None or not t_max > 2:
        raise OptionError(f"init='chrono' needs t_max, the longest dependence in steps, above 2; not {t_max!r}")
