"""The layer of any cell: torch's constructor, lengths, resets and gates, over the engines that have the cell."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from lstmkit.nn import initialisers
from lstmkit.nn.arrange import Case, Layout, arrange, arrange_extra, arrange_state, check_numbers, refuse_beside_packed
from lstmkit.nn.layer import RecurrentLayer
from lstmkit.nn.options import check_initialisation, check_options, stack_options
from lstmkit.nn.run import pack_like, unpack
from lstmkit.nn.run_cell import CellStack, run_cell_layers, run_cell_torch, run_cell_torch_packed
from lstmkit.nn.start import check_start, start_
from lstmkit.ops import Ways, check_engine, describe
from lstmkit.reference import check_state
from lstmkit.spec import CATALOG, CellSpec, OptionError, ShapeError, Variant

# What torch's layers of the same name compute; they have no variants.
_TORCH_CHOICES: dict[str, tuple[Any, ...]] = {"reset_after": (True,), "nonlinearity": ("tanh", "relu")}

_FORMS = ("chunkwise", "parallel", "recurrent")
_ALL_STEPS = 2**31 - 1


class Recurrent(RecurrentLayer):
    """What every layer beside :class:`LSTM` is; a subclass names its cell, and its docstring has the equations.

    Args:
        input_size: Features per time step, ``I``.
        hidden_size: Units per layer and direction, ``H``.
        num_layers: Stacked layers, ``L``.
        bias: Whether there are biases.
        batch_first: Whether input and output are ``(B, T, ...)`` instead of ``(T, B, ...)``.
        dropout: Probability in [0, 1] of zeroing a unit *between* layers.
        bidirectional: Whether a second direction reads the sequence from its end.
        device: Where the parameters are made.
        dtype: Type of the parameters.
        init: ``"torch"`` (uniform), ``"orthogonal"`` (recurrent weights, per gate), ``"chrono"`` (memories of cells
            with a forget gate spread over 1 to ``t_max`` steps) or ``"keras"`` (Glorot, orthogonal, biases zero but 1
            for the forget gate).
        t_max: The longest dependence in time steps, for ``init="chrono"``.
        learn_initial_state: Add a parameter per state, ``h_0`` ..., used where no ``hx`` is given. They start at zero.
        engine: Insist on an engine by its name; None chooses. See :meth:`explain_engine`.
        options: The cell's own, as its docstring lists them.

    Raises:
        OptionError: an option has an impossible value.
    """

    cell: ClassVar[str]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: str = "torch",
        t_max: float | None = None,
        learn_initial_state: bool = False,
        engine: str | None = None,
        **options: Any,
    ) -> None:
        known = CATALOG[self.cell].options
        if strange := sorted(set(options) - set(known)):
            raise TypeError(
                f"{type(self).__name__} has no argument {', '.join(strange)}; its own are: {', '.join(known) or 'none'}"
            )
        spec = CellSpec(
            input_size, hidden_size, num_layers, bias, bidirectional, cell=self.cell, **stack_options(options)
        )
        check_engine(engine)
        check_options(spec, batch_first, dropout)
        check_initialisation(spec, init, None, t_max)
        check_start(spec, init)
        super().__init__(spec, learn_initial_state, device, dtype)
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.init = init
        self.t_max = t_max
        self.engine = engine
        self._layers = tuple(spec.layer(layer) for layer in range(spec.num_layers))
        self._documents = tuple(map(describe, self._layers))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, uniformly in ``±1/sqrt(H)`` or as ``init`` says; learnt initial states become zero."""
        states = {f"{name}_0" for name in self.spec.entry.states}
        for name, parameter in self.named_parameters():
            if name in states:
                torch.nn.init.zeros_(parameter)
            else:
                initialisers.uniform_(parameter, self.hidden_size)
        for layer in range(self.num_layers):
            for suffix in self.spec.layer_suffixes(layer):
                own = {name: getattr(self, name + suffix) for name in self.spec.parameter_names()}
                start_(self.spec, own, self.init, self.t_max)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | Sequence[Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> Any:
        """Run the layer; returns ``output, state``, and a :class:`Trace` third if cells or gates are asked for.

        Args:
            input: The sequences, ``(T, B, I)``, ``(B, T, I)`` if ``batch_first``, ``(T, I)``, or a PackedSequence.
            hx: The states before the first step: a tensor where the cell has one, else a tuple. None is zero or learnt.
            lengths: Real steps of each row. Steps beyond are neither read nor written: their output is zero.
            resets: True where a new sequence begins inside a row: the states are zeroed there, in both directions.
            return_cells: Also return the cell states of every step, where the cell has any.
            return_gates: Also return the gates of every step, after their activation.

        Raises:
            ShapeError: a shape, dtype or device does not fit; the message shows both sides.
            OptionError: options that exclude each other.
            EngineError: the engine that was insisted on cannot do this.
        """
        return self._run(
            input, hx, lengths=lengths, resets=resets, return_cells=return_cells, return_gates=return_gates
        )

    def _run(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | Sequence[Tensor] | None,
        *,
        lengths: Tensor | Sequence[int] | None,
        resets: Tensor | None,
        return_cells: bool,
        return_gates: bool,
        extra: Tensor | None = None,
    ) -> Any:
        if return_cells and "c" not in self.spec.entry.states:
            raise OptionError(f"{type(self).__name__} has no cell state to return; its output shows all of its memory")
        extras = {"resets": resets is not None, "return_cells": return_cells, "return_gates": return_gates}
        if isinstance(input, PackedSequence):
            refuse_beside_packed(
                lengths=lengths is not None, **extras, **{str(self.spec.entry.extra): extra is not None}
            )
            return self._forward_packed(input, hx)
        case, layout = arrange(self.spec, self.batch_first, input, hx, lengths, resets)
        if extra is not None:
            case = case._replace(extra=arrange_extra(self.spec, layout, case.x, extra))
        state = self._state(case.x, case.hx, case.x.shape[1])
        engine = self._choose(case.x, lengths=lengths is not None, **extras).engine
        if engine == "torch" and not torch.compiler.is_compiling():
            output, last = run_cell_torch(self._stack(), case, state)
            return layout.like_caller(output), self._caller_state(last, layout)
        ways = Ways(engine, return_cells, return_gates, self._chunk())
        output, last, results = run_cell_layers(self._stack(), case, state, ways)
        result = layout.like_caller(output), self._caller_state(last, layout)
        return (*result, self._trace(results, layout)) if return_cells or return_gates else result

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        if self.spec.kernel_size:
            raise OptionError("a ConvLSTM takes no PackedSequence; pass the padded tensor and lengths=")
        if packed.data.dim() != 2 or packed.data.shape[1] != self.input_size:
            raise ShapeError(f"the packed data must have shape (N, {self.input_size}), not {tuple(packed.data.shape)}")
        batch, layout = int(packed.batch_sizes[0]), Layout(batched=True, batch_first=False)
        hx = arrange_state(self.spec, hx, batched=True)
        check_state(self.spec, hx, batch)
        state = self._state(packed.data, hx, batch)
        engine = self._choose(packed.data, lengths=True).engine
        if engine == "torch":
            output, last = run_cell_torch_packed(self._stack(), packed, state)
            return output, self._caller_state(last, layout)
        x, lengths = unpack(packed)
        case, ways = Case(x, None, lengths, None), Ways(engine, chunk=self._chunk())
        padded, last, _ = run_cell_layers(self._stack(), case, state, ways)
        return pack_like(padded, lengths, packed), self._caller_state(last, layout)

    def _state(self, x: Tensor, hx: tuple[Tensor, ...] | None, batch: int) -> tuple[Tensor, ...]:
        shapes = self.spec.state_shapes(tuple(x.shape[3:]))
        check_numbers(x, hx, self._weights()[0][0], [*shapes])
        if hx is not None:
            return hx
        if self.learn_initial_state:
            space = [None] * len(self.spec.kernel_size)
            first = [getattr(self, f"{name}_0").unsqueeze(1)[(..., *space)] for name in shapes]
            return tuple([value.expand(-1, batch, *shape) for value, shape in zip(first, shapes.values(), strict=True)])
        rows = self.num_layers * self.spec.num_directions
        return tuple([x.new_zeros(rows, batch, *shape) for shape in shapes.values()])

    def _chunk(self) -> int:
        """How many steps are taken at once; 0: one after the other."""
        return 0

    def _stack(self) -> CellStack:
        return CellStack(self.spec, self._layers, self._documents, self._weights(), self.dropout, self.training)

    def _options(self) -> tuple[str, ...]:
        own = [name for name, choices in _TORCH_CHOICES.items() if getattr(self.spec, name) not in choices]
        return (*own, *self.spec.variant.changed)

    def extra_repr(self) -> str:
        """What torch's layers print, then whatever differs from the defaults."""
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "init": "torch",
            "t_max": None,
            "learn_initial_state": False,
            "engine": None,
        }
        changed = [f"{name}={value!r}" for name in defaults if (value := getattr(self, name)) != defaults[name]]
        plain = {field.name: field.default for kind in (CellSpec, Variant) for field in fields(kind)}
        own = [
            f"{name}={value!r}" for name in self.spec.entry.options if (value := self.spec.option(name)) != plain[name]
        ]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed, *own])


class ChunkedRecurrent(Recurrent):
    """A layer whose cell can take many steps at once.

    Args:
        arguments: As for :class:`Recurrent`.
        form: ``"chunkwise"``, ``"parallel"`` or ``"recurrent"``.
        chunk_steps: Steps of a chunk where the equations run; the native core has its own.
        options: As for :class:`Recurrent`.

    Raises:
        OptionError: an option has an impossible value.
    """

    def __init__(self, *arguments: Any, form: str = "chunkwise", chunk_steps: int = 64, **options: Any) -> None:
        if form not in _FORMS:
            raise OptionError(f"form must be one of {', '.join(_FORMS)}, not {form!r}")
        if isinstance(chunk_steps, bool) or not isinstance(chunk_steps, int) or chunk_steps < 1:
            raise OptionError(f"chunk_steps must be a whole number of at least 1, not {chunk_steps!r}")
        super().__init__(*arguments, **options)
        self.form = form
        self.chunk_steps = chunk_steps

    def _options(self) -> tuple[str, ...]:
        return (*super()._options(), *(["form='recurrent'"] if self.form == "recurrent" else []))

    def _chunk(self) -> int:
        return {"recurrent": 0, "chunkwise": self.chunk_steps, "parallel": _ALL_STEPS}[self.form]
