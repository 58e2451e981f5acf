"""What every recurrent layer of torch's shape has: parameters by name, sizes, torch's conveniences."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lstmkit.spec import CellSpec


class Trace(NamedTuple):
    """What happened inside: per layer, and laid out like the output. None where it was not asked for.

    Shape:
        - cells: ``(T, B, D*H)`` per layer
        - gates: ``(T, B, D*H)`` per layer and gate letter, after the activation
    """

    cells: tuple[Tensor, ...] | None
    gates: tuple[dict[str, Tensor], ...] | None


class RecurrentLayer(nn.Module):
    """Parameters and sizes of a stack, derived from its CellSpec.

    Args:
        spec: The stack.
        learn_initial_state: Whether there is a parameter per state: ``h_0 (L*D, R)``, ``c_0 (L*D, H)`` ...
        device: Where the parameters are made.
        dtype: Type of the parameters.
    """

    weight_ih_l0: Tensor
    h_0: Tensor
    c_0: Tensor

    def __init__(
        self, spec: CellSpec, learn_initial_state: bool, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.learn_initial_state = learn_initial_state
        shapes = spec.parameter_shapes()
        if learn_initial_state:
            shapes |= {f"{name}_0": (spec.state_rows, *shape) for name, shape in spec.state_channels().items()}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))

    def _weights(self) -> list[list[Tensor]]:
        """Per layer, direction after direction; looked up anew, because people replace them."""
        kinds = self.spec.parameter_names()
        return [
            [getattr(self, kind + suffix) for suffix in self.spec.layer_suffixes(layer) for kind in kinds]
            for layer in range(self.num_layers)
        ]

    def flatten_parameters(self) -> None:
        """Nothing: kept for code written for torch.nn.LSTM."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights per layer and direction, as torch.nn.LSTM lists them."""
        kinds = self.spec.parameter_names()
        suffixes = [s for layer in range(self.num_layers) for s in self.spec.layer_suffixes(layer)]
        return [[getattr(self, kind + suffix) for kind in kinds] for suffix in suffixes]

    @property
    def input_size(self) -> int:
        """Features per time step, ``I``."""
        return self.spec.input_size

    @property
    def hidden_size(self) -> int:
        """Units per layer and direction, ``H``; of the last layer where they differ."""
        return self.spec.hidden_size

    @property
    def num_layers(self) -> int:
        """Stacked layers, ``L``."""
        return self.spec.num_layers

    @property
    def bias(self) -> bool:
        """Whether the gates have biases."""
        return self.spec.bias

    @property
    def bidirectional(self) -> bool:
        """Whether a second direction reads the sequence from its end."""
        return self.spec.bidirectional

    @property
    def proj_size(self) -> int:
        """Size of the projected hidden state; 0 means no projection."""
        return self.spec.proj_size
