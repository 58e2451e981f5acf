"""One step at a time: the modules that replace torch.nn.RNNCell, GRUCell and LSTMCell."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lstmkit.nn import initialisers
from lstmkit.nn.arrange import check_numbers
from lstmkit.reference import CELLS, describe_states
from lstmkit.spec import Activation, CellSpec, ShapeError

# torch's own steps: where units are few, they take half the time of the equations or less.
_RNN_STEPS = {"tanh": torch.rnn_tanh_cell, "relu": torch.rnn_relu_cell}


class StepCell(nn.Module):
    """What the three cells share: parameters without endings, and a step by torch's kernel or by the equations.

    Args:
        spec: The cell, of one layer and direction.
        device: Where the parameters are made.
        dtype: Type of the parameters.
    """

    def __init__(self, spec: CellSpec, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.spec = spec
        self.input_size, self.hidden_size, self.bias = spec.input_size, spec.hidden_size, spec.bias
        for name, shape in spec.parameter_shapes().items():
            parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            self.register_parameter(name.removesuffix("_l0"), parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, uniformly in ``±1/sqrt(H)``."""
        for parameter in self.parameters():
            initialisers.uniform_(parameter, self.hidden_size)

    def _step(self, x: Tensor, hx: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
        """The new states after the input ``(B, I)`` or ``(I,)``."""
        if not isinstance(x, Tensor) or x.dim() not in (1, 2) or x.shape[-1] != self.input_size:
            found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"the input of a step must have shape (B, {self.input_size}) or without B, not {found}")
        shapes = self.spec.state_shapes()
        rows = x.shape[:-1]
        own = {name: getattr(self, name) for name in self.spec.parameter_names()}
        check_numbers(x, hx, own["weight_ih"], [*shapes])
        state = [x.new_zeros(*rows, *shape) for shape in shapes.values()] if hx is None else hx
        if len(state) != len(shapes):
            raise ShapeError(f"hx must be {describe_states(self.spec)} of tensors, not {len(state)}")
        for (name, shape), value in zip(shapes.items(), state, strict=True):
            if tuple(value.shape) != (*rows, *shape):
                raise ShapeError(f"{name} must have shape {(*rows, *shape)}, not {tuple(value.shape)}")
        x, state = (x, tuple(state)) if rows else (x[None], tuple([value[None] for value in state]))
        new = _run_step(self.spec, x, state, own)
        return new if rows else tuple([value[0] for value in new])

    def extra_repr(self) -> str:
        """What torch's cells print, then the options that differ."""
        plain = CellSpec(self.input_size, self.hidden_size, cell=self.spec.cell)
        # A cell has none of the options of a Variant.
        options = [name for name in self.spec.entry.options if hasattr(plain, name)]
        own = [name for name in options if getattr(self.spec, name) != getattr(plain, name)]
        given = [] if self.bias else ["bias=False"]
        return ", ".join(
            [f"{self.input_size}, {self.hidden_size}", *given, *(f"{name}={getattr(self.spec, name)}" for name in own)]
        )


def _run_step(spec: CellSpec, x: Tensor, state: tuple[Tensor, ...], own: dict[str, Tensor]) -> tuple[Tensor, ...]:
    weights = own["weight_ih"], own["weight_hh"], own.get("bias_ih"), own.get("bias_hh")
    if spec.cell == "lstm":
        return torch.lstm_cell(x, state, *weights)
    if spec.nonlinearity in _RNN_STEPS and spec.cell == "rnn":
        return (_RNN_STEPS[spec.nonlinearity](x, state[0], *weights),)
    if spec.cell == "gru" and spec.reset_after:
        return (torch.gru_cell(x, state[0], *weights),)
    cell = CELLS[spec.cell]
    w = cell.collect(spec, own)
    return cell.step(torch, cell.prepare(torch, x[None], w)[0], state, w)[1]


class RNNCell(StepCell):
    """One step of an RNN: torch.nn.RNNCell.

    Args:
        input_size: Features of the input, ``I``.
        hidden_size: Units, ``H``.
        bias: Whether there are biases.
        nonlinearity: ``"tanh"``, ``"relu"`` or another, as for :class:`RNN`.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Raises:
        OptionError: an option has an impossible value.

    Source: Elman (1990).

    Example:
        >>> RNNCell(3, 5)(torch.randn(2, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Activation = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            CellSpec(input_size, hidden_size, 1, bias, cell="rnn", nonlinearity=nonlinearity), device, dtype
        )
        self.nonlinearity = self.spec.nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The new h ``(B, H)`` after the input ``(B, I)``; both without ``B`` if unbatched."""
        return self._step(input, None if hx is None else (hx,))[0]


class GRUCell(StepCell):
    """One step of a GRU: torch.nn.GRUCell.

    Args:
        input_size: Features of the input, ``I``.
        hidden_size: Units, ``H``.
        bias: Whether there are biases.
        device: Where the parameters are made.
        dtype: Type of the parameters.
        reset_after: As for :class:`GRU`.

    Raises:
        OptionError: an option has an impossible value.

    Source: Cho et al. (2014).

    Example:
        >>> GRUCell(3, 5)(torch.randn(2, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        reset_after: bool = True,
    ) -> None:
        super().__init__(CellSpec(input_size, hidden_size, 1, bias, cell="gru", reset_after=reset_after), device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The new h ``(B, H)`` after the input ``(B, I)``; both without ``B`` if unbatched."""
        return self._step(input, None if hx is None else (hx,))[0]


class LSTMCell(StepCell):
    """One step of an LSTM: torch.nn.LSTMCell.

    Args:
        input_size: Features of the input, ``I``.
        hidden_size: Units, ``H``.
        bias: Whether there are biases.
        device: Where the parameters are made.
        dtype: Type of the parameters.

    Raises:
        OptionError: an option has an impossible value.

    Source: Hochreiter & Schmidhuber (1997); Gers, Schmidhuber & Cummins (2000).

    Example:
        >>> h, c = LSTMCell(3, 5)(torch.randn(2, 3))
        >>> h.shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(CellSpec(input_size, hidden_size, 1, bias), device, dtype)

    def forward(self, input: Tensor, hx: Sequence[Tensor] | None = None) -> Any:
        """The new pair (h, c), ``(B, H)`` each, after the input ``(B, I)``; all without ``B`` if unbatched."""
        return self._step(input, hx)
