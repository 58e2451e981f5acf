"""Relatives of the LSTM that read what an LSTM reads."""

from lstmkit.nn.recurrent import Recurrent


class JANET(Recurrent):
    r"""JANET: just another network, whose only gate is the forget gate.

    .. math::
        s_t &= U_f h_{t-1} + W_f x_t + b_f \qquad g_t = \tanh(U_g h_{t-1} + W_g x_t + b_g) \\
        h_t &= \sigma(s_t) \odot h_{t-1} + (1 - \sigma(s_t - \beta)) \odot g_t

    Args:
        arguments: As for :class:`GRU`.
        beta: What the input's share is shifted by; above 0 more is let in than is forgotten. Default: 1.

    Shape:
        - as for :class:`GRU`; weight_ih: ``(2H, I)`` in the order f, g; one bias

    Source: van der Westhuizen & Lasenby, "The unreasonable effectiveness of the forget gate", arXiv:1804.04849, 2018.
        It starts with chrono biases there: ``init="chrono"`` with ``t_max``.

    Example:
        >>> import torch
        >>> JANET(10, 20)(torch.randn(5, 3, 10))[0].shape
        torch.Size([5, 3, 20])
    """

    cell = "janet"


class MultiplicativeLSTM(Recurrent):
    r"""Multiplicative LSTM: each input has recurrent weights of its own, in effect.

    .. math::
        m_t &= (W_{mx} x_t) \odot (W_{mh} h_{t-1}) \\
        i_t &= \sigma(W_{ix} x_t + W_{im} m_t + b_i), \text{ and so } f_t, g_t \text{ and } o_t \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t \qquad h_t = o_t \odot \tanh(c_t)

    Args:
        arguments: As for :class:`GRU`.

    Shape:
        - as for :class:`LSTM`; weight_ih: ``(4H, I)``; weight_mh, from m: ``(4H, H)``; weight_im: ``(H, I)``;
          weight_hm: ``(H, H)``; one bias

    Source: Krause, Lu, Murray & Renals, "Multiplicative LSTM for sequence modelling", arXiv:1609.07959, 2016.
        Some implementations have the output gate inside the last tanh; here it is outside, as in an LSTM.

    Example:
        >>> import torch
        >>> output, (h, c) = MultiplicativeLSTM(10, 20)(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    cell = "multiplicative"


class MogrifierLSTM(Recurrent):
    r"""Mogrifier LSTM: before an LSTM sees them, input and past gate each other in turn.

    .. math::
        x^i &= 2 \sigma(Q^i h^{i-1}) \odot x^{i-2} \quad \text{for odd } i \\
        h^i &= 2 \sigma(R^i x^{i-1}) \odot h^{i-2} \quad \text{for even } i

    From :math:`x^{-1} = x_t` and :math:`h^0 = h_{t-1}`; the last of each go into an LSTM.

    Args:
        arguments: As for :class:`GRU`.
        rounds: How many of these. Default: 5.
        rank: Of the matrices Q and R, as products; 0 is full. Default: 0.

    Shape:
        - as for :class:`LSTM`; weight_q: ``(odd rounds, I, H)``; weight_r: ``(even rounds, H, I)``; with a rank each is
          the product of its ``_left`` and ``_right``; one bias

    Source: Melis, Kocisky & Blunsom, "Mogrifier LSTM", ICLR 2020, arXiv:1909.01792, eq. 1-2.

    Example:
        >>> import torch
        >>> output, (h, c) = MogrifierLSTM(10, 20, rounds=4, rank=3)(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    cell = "mogrifier"


class ONLSTM(Recurrent):
    r"""ON-LSTM: ordered neurons; to forget one is to forget all below it.

    .. math::
        \tilde f_t &= \operatorname{cumax}(\cdot) \qquad \tilde i_t = 1 - \operatorname{cumax}(\cdot) \qquad
            \omega_t = \tilde f_t \odot \tilde i_t \\
        \hat f_t &= f_t \odot \omega_t + (\tilde f_t - \omega_t) \qquad
            \hat i_t = i_t \odot \omega_t + (\tilde i_t - \omega_t) \\
        c_t &= \hat f_t \odot c_{t-1} + \hat i_t \odot g_t \qquad h_t = o_t \odot \tanh(c_t)

    ``cumax`` is the cumulative sum of a softmax; each ``·`` is affine in :math:`x_t` and :math:`h_{t-1}`.

    Args:
        arguments: As for :class:`GRU`.
        chunk_size: Units that share one master unit. Default: 1.

    Shape:
        - as for :class:`LSTM`; with ``M = H / chunk_size``: weight_master_ih ``(2M, I)`` in the order f, i; one bias
        - gates of ``return_gates``: i, f, g, o, master_i, master_f

    Source: Shen, Tan, Sordoni & Courville, "Ordered neurons", ICLR 2019, arXiv:1810.09536, eq. 9-14.

    Example:
        >>> import torch
        >>> output, (h, c) = ONLSTM(10, 20, chunk_size=5)(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    cell = "on_lstm"


class LSTM1997(Recurrent):
    r"""The LSTM of 1997: no forget gate, and a gradient that the carousel alone carries back.

    .. math::
        i_t &= \sigma(\cdot) \qquad g_t = 4 \sigma(\cdot) - 2 \qquad o_t = \sigma(\cdot) \\
        s_t &= s_{t-1} + i_t \odot g_t \qquad h_t = o_t \odot (2 \sigma(s_t) - 1)

    Each ``·`` is affine in :math:`x_t` and :math:`h_{t-1}`, and no gradient goes into :math:`h_{t-1}`: it is not the
    derivative of the outputs, but the learning rule of the paper, which costs the same at every step.

    Args:
        arguments: As for :class:`GRU`.

    Shape:
        - as for :class:`LSTM`; weight_ih: ``(3H, I)`` in the order i, g, o; one bias

    Source: Hochreiter & Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, section 4, appendix A.1.

    Example:
        >>> import torch
        >>> output, (h, s) = LSTM1997(10, 20)(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    cell = "lstm1997"
