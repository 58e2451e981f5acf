"""The layers that replace torch.nn.RNN and torch.nn.GRU."""

from typing import Any

from lstmkit.nn.recurrent import Recurrent
from lstmkit.spec import Activation


class RNN(Recurrent):
    r"""Simple recurrent network: torch.nn.RNN, with lengths, resets and learnt initial states.

    .. math::
        h_t = \tanh(W x_t + b + U h_{t-1} + d), \text{ or another function}

    Arguments, results and bad input as for :class:`GRU`.

    Args:
        input_size: Features per time step, ``I``.
        hidden_size: Units per layer and direction, ``H``.
        num_layers: Stacked layers, ``L``.
        nonlinearity: ``"tanh"``, ``"relu"``, or another of :data:`lstmkit.spec.ACTIVATIONS`, with its constants where
            it has some: ``("hard_sigmoid", 0.2, 0.5)``.
        arguments: The others of torch.nn.RNN, in its order.
        options: ``gate_clip``, ``init``, ``learn_initial_state`` and ``engine``, as for :class:`GRU`, or any of the
            above by name.

    Source: Elman, "Finding structure in time", 1990; relu: Le, Jaitly & Hinton, arXiv:1504.00941, 2015.

    Example:
        >>> import torch
        >>> output, h = RNN(10, 20, 2, "relu")(torch.randn(5, 3, 10), lengths=[5, 2, 4])
        >>> output.shape, h.shape
        (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    cell = "rnn"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Activation = "tanh",
        *arguments: Any,
        **options: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, *arguments, nonlinearity=nonlinearity, **options)

    @property
    def nonlinearity(self) -> Activation:
        """``"tanh"``, ``"relu"`` or another."""
        return self.spec.nonlinearity


class GRU(Recurrent):
    r"""Gated recurrent unit: torch.nn.GRU, and what it cannot do.

    .. math::
        r_t &= \sigma(W_{xr} x_t + b_r + W_{hr} h_{t-1} + d_r) \\
        z_t &= \sigma(W_{xz} x_t + b_z + W_{hz} h_{t-1} + d_z) \\
        n_t &= \tanh(W_{xn} x_t + b_n + r_t \odot (W_{hn} h_{t-1} + d_n)) \\
        h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

    With ``reset_after=False`` it is :math:`n_t = \tanh(W_{xn} x_t + b_n + W_{hn} (r_t \odot h_{t-1}) + d_n)`.

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
        reset_after: Whether the reset gate acts after the recurrent product, as in torch and cuDNN, or before it,
            as in the published paper, and in Keras with ``reset_after=False``.
        gate_activation: In place of the sigmoids, an activation as for :class:`RNN`.
        candidate_activation: In place of the tanh.
        gate_clip: Bound of the sums that these read; None is none.
        init: ``"torch"`` (uniform), ``"orthogonal"`` (recurrent weights, per gate) or ``"keras"`` (Glorot, orthogonal,
            biases zero); of cells with a forget gate also ``"chrono"``, with ``t_max``, as for :class:`LSTM`.
        learn_initial_state: Add the parameter ``h_0 (L*D, H)``, used where no ``hx`` is given. It starts at zero.
        engine: Insist on ``"torch"`` or ``"reference"``; None chooses. See :meth:`explain_engine`.

    Shape:
        - input: ``(T, B, I)``, ``(B, T, I)`` if ``batch_first``, ``(T, I)`` unbatched, or a PackedSequence
        - output: ``(T, B, D*H)`` alike; h: ``(L*D, B, H)``; gates r, z and n: ``(T, B, D*H)``

    Raises:
        OptionError: an option has an impossible value.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, eq. 5-8; the reset
        after the product: its first version, arXiv:1406.1078v1. Where the paper has ``z`` keep the old state, so do we.

    Example:
        >>> import torch
        >>> layer = GRU(10, 20, num_layers=2, batch_first=True)
        >>> output, h, trace = layer(torch.randn(3, 5, 10), lengths=[5, 2, 4], return_gates=True)
        >>> output.shape, h.shape, sorted(trace.gates[1])
        (torch.Size([3, 5, 20]), torch.Size([2, 3, 20]), ['n', 'r', 'z'])
    """

    cell = "gru"

    @property
    def reset_after(self) -> bool:
        """Whether the reset gate acts after the recurrent product."""
        return self.spec.reset_after
