"""minLSTM and minGRU."""

from lstmkit.nn.recurrent import ChunkedRecurrent


class MinLSTM(ChunkedRecurrent):
    r"""minLSTM: an LSTM whose gates see the input alone, so that all steps come out of one scan.

    .. math::
        f_t &= \sigma(W_f x_t + b_f) \quad i_t = \sigma(W_i x_t + b_i) \quad g_t = W_g x_t + b_g \\
        h_t &= \frac{f_t}{f_t + i_t} \odot h_{t-1} + \frac{i_t}{f_t + i_t} \odot g_t

    Args:
        arguments: As for :class:`GRU`.
        form: ``"chunkwise"`` or ``"parallel"``, scans over chunks or over all steps at once, or ``"recurrent"``.
        chunk_steps: Steps of a chunk where the equations run; the native core has its own.

    Shape:
        - as for :class:`GRU`; gates i and f come back divided by their sum; weight_ih: ``(3H, I)`` in the order i, f, g

    Source: Feng et al., "Were RNNs all we needed?", arXiv:2410.01201, 2024, section 3.2.

    Example:
        >>> import torch
        >>> output, h = MinLSTM(10, 20)(torch.randn(100, 3, 10))
        >>> output.shape
        torch.Size([100, 3, 20])
    """

    cell = "minlstm"


class MinGRU(ChunkedRecurrent):
    r"""minGRU: a GRU whose gate sees the input alone, so that all steps come out of one scan.

    .. math::
        z_t &= \sigma(W_z x_t + b_z) \quad g_t = W_g x_t + b_g \\
        h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot g_t

    Note that ``z`` lets the new in, where that of :class:`GRU` keeps the old.

    Args:
        arguments: As for :class:`MinLSTM`.

    Shape:
        - as for :class:`GRU`; weight_ih: ``(2H, I)`` in the order z, g

    Source: Feng et al., "Were RNNs all we needed?", arXiv:2410.01201, 2024, section 3.1.

    Example:
        >>> import torch
        >>> output, h = MinGRU(10, 20, bidirectional=True)(torch.randn(100, 3, 10), lengths=[100, 7, 30])
        >>> output.shape
        torch.Size([100, 3, 40])
    """

    cell = "mingru"
