"""Relatives of the LSTM that read times, intervals or static features beside the sequence."""

from collections.abc import Sequence
from math import log
from typing import Any

import torch
from torch import Tensor

from lstmkit.nn.recurrent import Recurrent


class PhasedLSTM(Recurrent):
    r"""Phased LSTM: units that open in rhythms of their own, for events at any times.

    .. math::
        \phi_t &= \frac{(t - s) \bmod \tau}{\tau} \qquad
        k_t = \begin{cases} 2 \phi_t / r & \phi_t < r/2 \\ 2 - 2 \phi_t / r & r/2 \le \phi_t < r \\
            \alpha \phi_t & \text{otherwise} \end{cases} \\
        c_t &= k_t \odot \tilde c_t + (1 - k_t) \odot c_{t-1} \qquad
        h_t = k_t \odot \tilde h_t + (1 - k_t) \odot h_{t-1}

    with :math:`\tilde c_t` and :math:`\tilde h_t` of an LSTM's step. Period, shift and ratio of each unit are learnt.

    Args:
        arguments: As for :class:`GRU`.
        leak: :math:`\alpha`, how far a closed unit stays open. Default: 0.001.

    Shape:
        - as for :class:`LSTM`; log_period, shift, ratio_logit: ``(H,)`` for :math:`\log \tau`, :math:`s` and the logit
          of :math:`r`; one bias
        - gates of ``return_gates``: i, f, g, o, k

    Units:
        times, period and shift in one unit of the user's choice; periods start between 1 and 20 of it.

    Source: Neil, Pfeiffer & Liu, "Phased LSTM", NeurIPS 2016, arXiv:1610.09513, without peepholes.

    Example:
        >>> times = torch.tensor([0.0, 0.4, 7.0, 7.1, 30.0])[:, None].expand(5, 3)
        >>> output, (h, c) = PhasedLSTM(10, 20)(torch.randn(5, 3, 10), times=times)
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    cell = "phased"

    def reset_parameters(self) -> None:
        """As the base does, then the rhythms as in the paper: ``tau = exp(U(0, 3))``, ``s`` in it, ``r`` 5 %."""
        super().reset_parameters()
        with torch.no_grad():
            for layer in range(self.num_layers):
                for suffix in self.spec.layer_suffixes(layer):
                    period = getattr(self, f"log_period{suffix}").uniform_(0.0, 3.0).exp()
                    getattr(self, f"shift{suffix}").uniform_().mul_(period)
                    getattr(self, f"ratio_logit{suffix}").fill_(log(0.05 / 0.95))

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input: Tensor,
        hx: Sequence[Tensor] | None = None,
        *,
        times: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> Any:
        """Run the layer; arguments and results as for :class:`LSTM`, but no PackedSequence.

        Args:
            input: The sequences.
            hx: The pair (h, c) before the first step.
            times: When each step is, in the input's shape without its last axis. They are read in the input's type: let
                them begin near zero, because float32 knows seconds since 1970 to two minutes.
            lengths: Real steps of each row.
            resets: True where a new sequence begins inside a row.
            return_cells: Also return the cell states of every step.
            return_gates: Also return the gates of every step.
        """
        wanted = {"return_cells": return_cells, "return_gates": return_gates}
        return self._run(input, hx, extra=times, lengths=lengths, resets=resets, **wanted)


class TimeAwareLSTM(Recurrent):
    r"""T-LSTM: of its memory the short-term part fades with the time that has passed.

    .. math::
        C^S_{t-1} &= \tanh(W_d c_{t-1} + b_d) \\
        c^*_{t-1} &= c_{t-1} - C^S_{t-1} + C^S_{t-1} / \log(e + \Delta_t)

    and an LSTM's step from :math:`c^*_{t-1}`.

    Args:
        arguments: As for :class:`GRU`.

    Shape:
        - as for :class:`LSTM`; weight_d: ``(H, H)``; bias_d: ``(H,)``; one bias

    Source: Baytas et al., "Patient subtyping via time-aware LSTM networks", KDD 2017, with its decay for
        long intervals.

    Example:
        >>> intervals = torch.tensor([0.0, 0.4, 7.0, 7.1, 30.0])[:, None].expand(5, 3)
        >>> output, (h, c) = TimeAwareLSTM(10, 20)(torch.randn(5, 3, 10), intervals=intervals)
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    cell = "time_aware"

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input: Tensor,
        hx: Sequence[Tensor] | None = None,
        *,
        intervals: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> Any:
        """Run the layer; arguments and results as for :class:`LSTM`, but no PackedSequence.

        Args:
            input: The sequences.
            hx: The pair (h, c) before the first step.
            intervals: Time since the step before, at least 0, in the input's shape without its last axis. The second
                direction uses the same intervals.
            lengths: Real steps of each row.
            resets: True where a new sequence begins inside a row.
            return_cells: Also return the cell states of every step.
            return_gates: Also return the gates of every step.
        """
        wanted = {"return_cells": return_cells, "return_gates": return_gates}
        return self._run(input, hx, extra=intervals, lengths=lengths, resets=resets, **wanted)


class EALSTM(Recurrent):
    r"""EA-LSTM: features that stay the same decide, once, what each unit may store.

    .. math::
        i &= \sigma(W_i x^{\text{static}} + b_i) \\
        c_t &= f_t \odot c_{t-1} + i \odot g_t \qquad h_t = o_t \odot \tanh(c_t)

    where f, g and o are those of an LSTM.

    Args:
        arguments: As for :class:`GRU`.
        static_size: Static features, ``E``. Default: 1.

    Shape:
        - as for :class:`LSTM`; weight_ih: ``(3H, I)`` in the order f, g, o; weight_sh: ``(H, E)``; bias_sh: ``(H,)``

    Source: Kratzert et al., "Towards learning universal, regional, and local hydrological behaviors via machine
        learning applied to large-sample datasets", Hydrology and Earth System Sciences 23(12), 2019.

    Example:
        >>> output, (h, c) = EALSTM(10, 20, static_size=4)(torch.randn(5, 3, 10), static=torch.randn(3, 4))
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    cell = "entity_aware"

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input: Tensor,
        hx: Sequence[Tensor] | None = None,
        *,
        static: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> Any:
        """Run the layer; arguments and results as for :class:`LSTM`, but no PackedSequence.

        Args:
            input: The sequences.
            hx: The pair (h, c) before the first step.
            static: Static features ``(B, E)``, or ``(E,)`` beside an unbatched sequence; or, where they do change after
                all, those of each step, laid out as the input.
            lengths: Real steps of each row.
            resets: True where a new sequence begins inside a row.
            return_cells: Also return the cell states of every step.
            return_gates: Also return the gates of every step.
        """
        wanted = {"return_cells": return_cells, "return_gates": return_gates}
        return self._run(input, hx, extra=static, lengths=lengths, resets=resets, **wanted)
