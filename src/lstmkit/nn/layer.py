"""What every recurrent layer of torch's shape has: parameters by name, sizes, its engine, torch's conveniences."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lstmkit.nn.arrange import Layout, autocast_dtype
from lstmkit.nn.run import exporting, transforming
from lstmkit.ops import EngineChoice, EngineRequest, choose_engine, native_available
from lstmkit.reference import LayerResult, name_gates
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
    engine: str | None = None  # insisted on

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

    def explain_engine(
        self,
        input: Tensor | None = None,
        *,
        lengths: bool = False,
        resets: bool = False,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> EngineChoice:
        """Which engine such a call would run on, and why not on another.

        Args:
            input: The padded input of the call; without it, the weights say where and in what it computes.
            lengths: Whether the call has lengths, or a PackedSequence.
            resets: Whether it has resets.
            return_cells: Whether it asks for cells.
            return_gates: Whether it asks for gates.

        Raises:
            EngineError: the engine that was insisted on cannot do this.

        Example:
            >>> from lstmkit.nn import LSTM
            >>> print(LSTM(2, 3, dtype=torch.float16).explain_engine(return_gates=True))
            reference: the equations as torch operations; they do every case
            not native: the native core computes in float32, float64, bfloat16, not float16
            not torch: ATen does not return the gates
        """
        x = self._weights()[0][0] if input is None else input
        wanted = {"resets": resets, "return_cells": return_cells, "return_gates": return_gates}
        return self._choose(x, lengths=lengths, **wanted)

    def _choose(
        self,
        x: Tensor,
        *,
        lengths: bool,
        resets: bool = False,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> EngineChoice:
        request = EngineRequest(
            cell=self.spec.cell,
            options=self._options(),
            activations=self.spec.activations,
            device=x.device.type,
            dtype=str(autocast_dtype(x) or x.dtype).removeprefix("torch."),
            lengths=lengths,
            resets=resets,
            cells=return_cells,
            gates=return_gates,
            checkpoints=self._checkpoint_steps() > 0,
            transforms=transforming(),
            exporting=exporting(),
            native_available=native_available(),
        )
        return choose_engine(request, self.engine)

    def _options(self) -> tuple[str, ...]:
        """What an engine must have beyond the cell that torch knows."""
        raise NotImplementedError

    def _checkpoint_steps(self) -> int:
        """Steps of a chunk that backward runs again, or 0 where every step is kept or no gradient is wanted."""
        return 0

    def _caller_state(self, state: Sequence[Tensor], layout: Layout) -> Any:
        state = state if layout.batched else [value.squeeze(1) for value in state]
        return tuple(state) if len(state) > 1 else state[0]

    def _trace(self, results: list[LayerResult], layout: Layout) -> Trace:
        cells = [layout.like_caller(r.cells) for r in results if r.cells is not None]
        gates = [
            {letter: layout.like_caller(value) for letter, value in name_gates(self.spec, r.gates).items()}
            for r in results
            if r.gates is not None
        ]
        return Trace(tuple(cells) or None, tuple(gates) or None)
