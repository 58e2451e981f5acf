"""The cells of xLSTM: sLSTM and mLSTM."""

from lstmkit.nn.recurrent import ChunkedRecurrent, Recurrent


class SLSTM(Recurrent):
    r"""sLSTM: an LSTM whose gates are exponential, so that it can revise what it has stored.

    .. math::
        c_t &= f_t \odot c_{t-1} + i_t \odot z_t \qquad n_t = f_t \odot n_{t-1} + i_t \\
        h_t &= o_t \odot c_t / n_t \\
        z_t &= \tanh(\tilde z_t) \quad i_t = \exp(\tilde i_t) \\
        f_t &= \sigma(\tilde f_t) \quad o_t = \sigma(\tilde o_t)

    Each :math:`\tilde\cdot` is :math:`W x_t + R h_{t-1} + b`, with ``R`` in one block per head. It is computed with the
    stabiliser :math:`m_t = \max(\log f_t + m_{t-1}, \tilde i_t)`, which is a state too, because ``c`` and ``n`` are
    kept times :math:`\exp(-m_t)`. The gates of ``return_gates`` are the stabilised ones, in (0, 1].

    Args:
        arguments: As for :class:`GRU`.
        num_heads: Heads, of ``S = H / num_heads`` units that see each other.

    Shape:
        - as for :class:`GRU`; states h, c, n, m: ``(L*D, B, H)`` each. An initial ``n`` is positive, or zero with ``c``
        - weight_ih: ``(4H, I)`` in the order i, f, z, o; weight_hh: ``(4H, S)``; bias_ih: ``(4H,)``

    Source: Beck et al., "xLSTM: Extended Long Short-Term Memory", NeurIPS 2024, arXiv:2405.04517, eq. 8-17. Of its two
        forget gates this is the sigmoid.

    Example:
        >>> import torch
        >>> output, (h, c, n, m) = SLSTM(10, 20, num_heads=4)(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])
    """

    cell = "slstm"


class MLSTM(ChunkedRecurrent):
    r"""mLSTM: a matrix for a memory, in which values lie under keys; no state goes into its gates.

    .. math::
        C_t &= f_t C_{t-1} + i_t v_t k_t^\top \qquad n_t = f_t n_{t-1} + i_t k_t \\
        h_t &= o_t \odot C_t q_t / \max(|n_t^\top q_t|, 1) \\
        q_t &= W_q x_t + b_q \quad k_t = W_k x_t / \sqrt S + b_k \quad v_t = W_v x_t + b_v \\
        i_t &= \exp(w_i^\top x_t + b_i) \quad f_t = \sigma(w_f^\top x_t + b_f) \quad o_t = \sigma(W_o x_t + b_o)

    Per head; heads share nothing. As no gate waits for a state, many steps can be had at once: ``form`` says how.
    All forms give the same numbers up to rounding, forwards and backwards.

    Args:
        arguments: As for :class:`GRU`.
        num_heads: Heads, each with a memory of ``S x S`` for ``S = H / num_heads``.
        form: ``"chunkwise"``, ``"parallel"``, which takes all steps at once and memory that grows with their square,
            or ``"recurrent"``.
        chunk_steps: Steps of a chunk where the equations run; the native core has its own.

    Shape:
        - as for :class:`GRU`; states C: ``(L*D, B, N, S, S)``, n: ``(L*D, B, N, S)``, m: ``(L*D, B, N)``, of which
          C and n are kept times ``exp(-m)``
        - weight_qkvo: ``(4H, I)``; weight_if: ``(2N, I)``; biases alike

    Source: Beck et al., "xLSTM: Extended Long Short-Term Memory", NeurIPS 2024, arXiv:2405.04517, eq. 19-27.

    Example:
        >>> import torch
        >>> layer = MLSTM(10, 20, num_heads=4)
        >>> output, (C, n, m) = layer(torch.randn(100, 3, 10))
        >>> output.shape, C.shape
        (torch.Size([100, 3, 20]), torch.Size([1, 3, 4, 5, 5]))
    """

    cell = "mlstm"
