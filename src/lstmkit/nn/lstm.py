"""The LSTM layer: torch.nn.LSTM's face over every engine."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from lstmkit.nn import initialisers
from lstmkit.nn.arrange import Case, State, arrange, arrange_state, check_numbers, refuse_beside_packed
from lstmkit.nn.layer import RecurrentLayer
from lstmkit.nn.options import VariantOptions, check_initialisation, check_memory, check_options, make_spec
from lstmkit.nn.regularisers import NO_RATES, Rates, drop_weights
from lstmkit.nn.run import (
    Stack,
    Wanted,
    pack_like,
    run_layers,
    run_torch,
    run_torch_packed,
    unpack,
)
from lstmkit.ops import check_engine, describe
from lstmkit.reference import check_state
from lstmkit.spec import OptionError, ShapeError


class LSTM(RecurrentLayer):
    r"""Long Short-Term Memory: torch.nn.LSTM, and what it cannot do.

    .. math::
        i_t &= \sigma(W_{xi} x_t + W_{hi} h_{t-1} + b_i) \\
        f_t &= \sigma(W_{xf} x_t + W_{hf} h_{t-1} + b_f) \\
        g_t &= \tanh(W_{xg} x_t + W_{hg} h_{t-1} + b_g) \\
        o_t &= \sigma(W_{xo} x_t + W_{ho} h_{t-1} + b_o) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
        h_t &= o_t \odot \tanh(c_t)

    Constructor, ``state_dict`` and results up to ``dtype`` are torch.nn.LSTM's, so the import is all
    that changes. The weights are ordinary tensors at all times: tie, normalise, prune or replace them.

    Args:
        input_size: Features per time step, ``I``.
        hidden_size: Units per layer and direction, ``H``, or a list of them, one per layer.
        num_layers: Stacked layers, ``L``; a list of sizes says it too.
        bias: Whether the gates have biases.
        batch_first: Whether input and output are ``(B, T, ...)`` instead of ``(T, B, ...)``.
        dropout: Probability in [0, 1] of zeroing a unit *between* layers.
        bidirectional: Whether a second direction reads the sequence from its end.
        proj_size: Size ``P`` of the projected hidden state; 0 means no projection.
        device: Where the parameters are made.
        dtype: Type of the parameters.
        forget_bias: What the forget gate's two biases add up to at the start; None leaves them to ``init``.
        init: ``"torch"`` (uniform), ``"orthogonal"`` (recurrent weights, per gate), ``"chrono"`` (memories spread over
            1 to ``t_max`` steps) or ``"keras"`` (Glorot, orthogonal, biases zero but 1 for the forget gate).
        t_max: The longest dependence in time steps, for ``init="chrono"``.
        learn_initial_state: Add the parameters ``h_0 (L*D, R)`` and ``c_0 (L*D, H)``, used where no
            ``hx`` is given. They start at zero.
        skip: What goes past each layer above the first: ``"none"``, ``"residual"`` or ``"highway"``.
        input_dropout: Probability of zeroing a feature of each layer's input, for a whole sequence.
        state_dropout: The same of a unit of h where the gates read it.
        candidate_dropout: Probability of zeroing a unit of the candidate, per step.
        weight_dropout: Probability of zeroing an entry of the recurrent matrices, once per call.
        checkpoint_steps: Keep only the states between chunks of so many steps, and run each chunk again in the
            backward pass: the memory of training no longer grows with the cells and gates of every step. A few
            hundred suit any length; ``T`` or more keeps nothing but inputs and outputs. Same numbers, more work.
        saved_dtype: ``torch.bfloat16`` keeps the gates for the backward pass in half the memory: 3H instead of
            5H floats per step and row beside the output. For float32 on the engine ``native``; gradients then
            differ by some tenths of a per cent, outputs do not.
        engine: Insist on ``"native"``, ``"torch"`` or ``"reference"``; None chooses. See :meth:`explain_engine`.
        variant: The options of :class:`lstmkit.spec.Variant`: gates, activations, peepholes, layer normalisation,
            clips, zoneout. docs/explanation/variants.md has their equations.

    Shape:
        - input: ``(T, B, I)``, ``(B, T, I)`` if ``batch_first``, ``(T, I)`` unbatched, or a PackedSequence
        - output: ``(T, B, D*R)`` alike, with ``D`` directions and ``R`` = ``P`` or ``H``
        - h: ``(L*D, B, R)``; c: ``(L*D, B, H)``; without ``B`` if unbatched

    Raises:
        OptionError: an option has an impossible value, or two exclude each other.

    Source: Hochreiter & Schmidhuber (1997); Gers, Schmidhuber & Cummins (2000); projection: Sak,
        Senior & Beaufays (2014).

    Example:
        >>> layer = LSTM(input_size=10, hidden_size=20, num_layers=2, batch_first=True)
        >>> output, (h, c) = layer(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        forget_bias: float | None = None,
        init: str = "torch",
        t_max: float | None = None,
        learn_initial_state: bool = False,
        skip: str = "none",
        input_dropout: float = 0.0,
        state_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        checkpoint_steps: int | None = None,
        saved_dtype: torch.dtype | None = None,
        engine: str | None = None,
        **variant: Unpack[VariantOptions],
    ) -> None:
        spec = make_spec(input_size, hidden_size, num_layers, bias, bidirectional, proj_size, skip, variant)
        rates = Rates(input_dropout, state_dropout, candidate_dropout, weight_dropout)
        rates.check()
        check_engine(engine)
        check_memory(checkpoint_steps, saved_dtype, (*spec.variant.changed, *rates.inside()))
        check_options(spec, batch_first, dropout)
        check_initialisation(spec, init, forget_bias, t_max)
        super().__init__(spec, learn_initial_state, device, dtype)
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.rates = rates
        self._states = tuple(spec.state_shapes())
        self._layers = tuple(spec.layer(layer) for layer in range(spec.num_layers))
        self._documents = tuple(map(describe, self._layers))
        self.forget_bias = forget_bias
        self.init = init
        self.t_max = t_max
        self.checkpoint_steps = checkpoint_steps
        self.saved_dtype = saved_dtype
        self.engine = engine
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, as ``init`` and ``forget_bias`` say."""
        layers = list(enumerate(self.spec.hidden_sizes))
        sizes = {suffix: size for layer, size in layers for suffix in self.spec.layer_suffixes(layer)}
        for name, parameter in self.named_parameters():
            size = next((size for suffix, size in sizes.items() if name.endswith(suffix)), self.hidden_size)
            initialisers.plain_(name, parameter, size)
        for suffix in sizes:
            self._reset_direction(suffix)

    def _reset_direction(self, suffix: str) -> None:
        gates = self.spec.variant.gates_with_weights
        weights = getattr(self, f"weight_ih{suffix}"), getattr(self, f"weight_hh{suffix}")
        if self.init == "orthogonal":
            initialisers.orthogonal_(weights[1], len(gates))
        if self.init == "keras":
            initialisers.keras_(*weights)
        if self.bias:
            biases = getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}")
            if self.init == "chrono":
                initialisers.chrono_(*biases, float(self.t_max or 0), gates)
            if self.init == "keras":
                initialisers.keras_biases_(*biases, gates)
            if self.forget_bias is not None:
                initialisers.forget_bias_(*biases, self.forget_bias, gates)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Sequence[Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> Any:
        """Run the layer; returns ``output, (h, c)``, and a :class:`Trace` third if cells or gates are asked for.

        Args:
            input: The sequences.
            hx: The pair (h, c) before the first step; None is zero, or learnt.
            lengths: Real steps of each row, on any device. Steps beyond are neither read nor written: their
                output is zero, ``h`` and ``c`` are those at the last real step, and the second direction starts there.
            resets: True where a new sequence begins inside a row: the state is zeroed between the step
                before and this one, in both directions.
            return_cells: Also return the cell states of every step.
            return_gates: Also return the gates of every step, after their activation.

        Shape:
            - lengths: ``(B,)`` in ``1..T``; resets: bool, the input's shape without its last axis

        Raises:
            ShapeError: a shape, dtype or device does not fit; the message shows both sides.
            OptionError: options that exclude each other.
            EngineError: the engine that was insisted on cannot do this.
        """
        extras = {"resets": resets is not None, "return_cells": return_cells, "return_gates": return_gates}
        if isinstance(input, PackedSequence):
            refuse_beside_packed(lengths=lengths is not None, **extras)
            return self._forward_packed(input, hx)
        if self._checkpoint_steps() and (return_cells or return_gates):
            raise OptionError(
                "checkpoint_steps is there to keep no cells and gates, so a run with gradients cannot return them; "
                "run under torch.no_grad(), or set checkpoint_steps = None"
            )
        case, layout = arrange(self.spec, self.batch_first, input, hx, lengths, resets)
        case = case._replace(hx=self._initial_state(case.x, case.hx, case.x.shape[1]))
        engine = self._choose(case.x, lengths=lengths is not None, **extras).engine
        stack = self._stack()
        if engine == "torch" and stack.is_one_call() and not torch.compiler.is_compiling():
            output, last = run_torch(stack, case)
            return layout.like_caller(output), self._caller_state(last, layout)
        wanted = Wanted(engine, return_cells, return_gates, self._checkpoint_steps(), self.saved_dtype)
        output, last, results = run_layers(stack, case, wanted)
        result = layout.like_caller(output), self._caller_state(last, layout)
        return (*result, self._trace(results, layout)) if return_cells or return_gates else result

    def _forward_packed(self, packed: PackedSequence, hx: Sequence[Tensor] | None) -> tuple[PackedSequence, State]:
        if packed.data.dim() != 2 or packed.data.shape[1] != self.input_size:
            raise ShapeError(f"the packed data must have shape (N, {self.input_size}), not {tuple(packed.data.shape)}")
        batch = int(packed.batch_sizes[0])
        given = arrange_state(self.spec, hx, batched=True)
        check_state(self.spec, given, batch)
        state = self._initial_state(packed.data, given, batch)
        engine = self._choose(packed.data, lengths=True).engine
        stack = self._stack()
        if engine == "torch" and stack.is_one_call():
            return run_torch_packed(stack, packed, state)
        x, lengths = unpack(packed)
        wanted = Wanted(engine, checkpoint_steps=self._checkpoint_steps(), saved_dtype=self.saved_dtype)
        padded, last, _ = run_layers(stack, Case(x, state, lengths, None), wanted)
        return pack_like(padded, lengths, packed), last

    def _initial_state(self, x: Tensor, hx: State | None, batch: int) -> State | None:
        check_numbers(x, hx, self.weight_ih_l0, self._states)
        if hx is not None or not self.learn_initial_state:
            return hx
        learned = [getattr(self, f"{name}_0") for name in self._states]
        return tuple([value[:, None].expand(-1, batch, -1).contiguous() for value in learned])

    def _checkpoint_steps(self) -> int:
        return self.checkpoint_steps or 0 if torch.is_grad_enabled() else 0

    def _stack(self) -> Stack:
        rates, weights = self.rates if self.training else NO_RATES, self._weights()
        if rates.weight_dropout:
            weights = [drop_weights(self.spec, layer, rates.weight_dropout) for layer in weights]
        return Stack(
            self.spec, weights, self.dropout, self.training, rates, self._skips(), self._layers, self._documents
        )

    def _skips(self) -> dict[str, Tensor]:
        if self.spec.skip != "highway":
            return {}
        return {name: getattr(self, name) for layer in range(self.num_layers) for name in self.spec.skip_shapes(layer)}

    def _options(self) -> tuple[str, ...]:
        return (*self.spec.variant.changed, *(self.rates.inside() if self.training else ()))

    def extra_repr(self) -> str:
        """What torch.nn.LSTM prints, then whatever differs from it."""
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "forget_bias": None,
            "init": "torch",
            "t_max": None,
            "learn_initial_state": False,
            "skip": "none",
            **dict.fromkeys(Rates._fields, 0.0),
            "checkpoint_steps": None,
            "saved_dtype": None,
            "engine": None,
        }
        values = self.rates._asdict() | {"skip": self.spec.skip}
        given = {name: values[name] if name in values else getattr(self, name) for name in defaults}
        changed = {name: value for name, value in given.items() if value != defaults[name]}
        changed |= self.spec.variant.changes()
        sizes = list(self.spec.layer_sizes) or self.hidden_size
        return ", ".join([f"{self.input_size}, {sizes}", *(f"{name}={value!r}" for name, value in changed.items())])
