"""How the weights of a relative of the LSTM start: which of its parameters an initialiser is for."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lstmkit.nn import initialisers
from lstmkit.spec import CellSpec, OptionError

# Matrices that a state goes through on its way to the gates; a master gate has fewer rows than the others.
_RECURRENT = ("weight_hh", "weight_mh", "weight_hm", "weight_master_hh")
_FROM_INPUT = ("weight_ih", "weight_im", "weight_sh", "weight_master_ih", "weight_qkvo", "weight_if")

# Cells of whose gates not all have rows in bias_ih: the bias of the forget gate, and whose rows stand in it.
_FORGET = {"mlstm": ("bias_if", ("i", "f")), "entity_aware": ("bias_ih", ("f", "g", "o"))}


def check_start(spec: CellSpec, init: str) -> None:
    """Raise an OptionError where a cell has nothing that ``init`` is for."""
    if init == "orthogonal" and not set(_RECURRENT) & set(spec.parameter_names()):
        raise OptionError(f"init='orthogonal' is for recurrent matrices, of which the cell {spec.cell!r} has none")
    if init == "chrono" and "f" not in spec.gates:
        raise OptionError(f"init='chrono' spreads how fast cells forget, but the cell {spec.cell!r} has no forget gate")


def start_(spec: CellSpec, parameters: Mapping[str, Tensor], init: str, t_max: float | None) -> None:
    """Fill the parameters of one layer and direction, by their names without endings, that ``init`` is for.

    Others keep what they have. ``"torch"`` is what they all have.
    """
    if init in ("orthogonal", "keras"):
        for name in _RECURRENT:
            if name in parameters:
                _orthogonal(spec, name, parameters[name], each_gate=init == "orthogonal")
    if init == "keras":
        for name, parameter in parameters.items():
            if name in _FROM_INPUT:
                torch.nn.init.xavier_uniform_(parameter)
            if name.startswith("bias_"):
                torch.nn.init.zeros_(parameter)
    if spec.bias and "f" in spec.gates and init in ("chrono", "keras"):
        bias, gates = _forget_bias(spec, parameters)
        # An initialiser of the LSTM's two biases; here there is one.
        second = torch.zeros_like(bias)
        if init == "chrono":
            initialisers.chrono_(bias, second, float(t_max or 0), gates)
        else:
            initialisers.forget_bias_(bias, second, 1.0, gates)


def _forget_bias(spec: CellSpec, parameters: Mapping[str, Tensor]) -> tuple[Tensor, tuple[str, ...]]:
    """The bias that has the forget gate's rows, and the gates whose rows it has."""
    if spec.cell in _FORGET:
        name, gates = _FORGET[spec.cell]
        return parameters[name], gates
    bias = parameters["bias_ih"]
    return bias, spec.gates[: len(bias) // spec.hidden_size]


@torch.no_grad()
def _orthogonal(spec: CellSpec, name: str, matrix: Tensor, *, each_gate: bool) -> None:
    """A block per gate and head, or all gates of a head at once, as Keras has it for the one head of its cells."""
    heads = spec.num_heads
    gates = 2 if name == "weight_master_hh" else matrix.shape[0] // (heads * matrix.shape[1])
    if each_gate:
        initialisers.orthogonal_(matrix, gates * heads)
        return
    blocks = matrix.unflatten(0, (gates, heads, -1))
    for head in range(heads):
        block = blocks[:, head]
        block.copy_(torch.nn.init.orthogonal_(torch.empty_like(block.flatten(0, 1))).view_as(block))
