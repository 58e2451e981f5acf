"""ConvLSTM over one, two or three axes of space."""

from typing import Any

from lstmkit.nn.recurrent import Recurrent


class _ConvLSTM(Recurrent):
    cell = "conv_lstm"
    axes: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        kernel_size: int | tuple[int, ...],
        num_layers: int = 1,
        *arguments: Any,
        **options: Any,
    ) -> None:
        sizes = (kernel_size,) * self.axes if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(sizes) != self.axes:
            raise TypeError(f"{type(self).__name__} has {self.axes} axes of space; its kernel_size is {kernel_size!r}")
        super().__init__(input_size, hidden_size, num_layers, *arguments, kernel_size=sizes, **options)


class ConvLSTM1D(_ConvLSTM):
    r"""ConvLSTM over a line: an LSTM at every place, whose products are convolutions.

    .. math::
        i_t &= \sigma(W_{xi} * x_t + W_{hi} * h_{t-1} + b_i), \text{ and so } f_t, g_t \text{ and } o_t \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t \qquad h_t = o_t \odot \tanh(c_t)

    Args:
        input_size: Channels of the input, ``I``.
        hidden_size: Channels of the states, ``H``.
        kernel_size: Of all convolutions: a number, or one per axis of space.
        num_layers: Stacked layers, ``L``.
        arguments: The others of :class:`GRU`, in its order.
        options: ``padding`` of the input's convolution: ``"same"``, or ``"valid"``, which makes space smaller and is
            for one layer; the recurrent one always keeps it. ``gate_activation``, ``candidate_activation``,
            ``cell_activation`` and ``gate_clip``, as for :class:`LSTM`. Or any of the above by name.

    Shape:
        - input: ``(T, B, I, *space)``, ``(B, T, I, *space)`` if ``batch_first``, ``(T, I, *space)`` unbatched
        - output: ``(T, B, D*H, *space)``; h, c: ``(L*D, B, H, *space)``; lengths and resets as for :class:`GRU`
        - weight_ih: ``(4H, I, *kernel)`` in the order i, f, g, o; weight_hh: ``(4H, H, *kernel)``; bias_ih: ``(4H,)``

    Source: Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation nowcasting", NeurIPS
        2015, arXiv:1506.04214, eq. 3, without its peepholes, as in Keras.

    Example:
        >>> import torch
        >>> output, (h, c) = ConvLSTM1D(2, 4, 3)(torch.randn(5, 3, 2, 16))
        >>> output.shape
        torch.Size([5, 3, 4, 16])
    """

    axes = 1


class ConvLSTM2D(_ConvLSTM):
    """ConvLSTM over images; see :class:`ConvLSTM1D`.

    Example:
        >>> import torch
        >>> output, (h, c) = ConvLSTM2D(2, 4, (3, 5), bidirectional=True)(torch.randn(5, 3, 2, 8, 9), lengths=[5, 1, 4])
        >>> output.shape
        torch.Size([5, 3, 8, 8, 9])
    """

    axes = 2


class ConvLSTM3D(_ConvLSTM):
    """ConvLSTM over volumes; see :class:`ConvLSTM1D`.

    Example:
        >>> import torch
        >>> output, (h, c) = ConvLSTM3D(2, 4, 3, padding="valid")(torch.randn(5, 3, 2, 6, 7, 8))
        >>> output.shape
        torch.Size([5, 3, 4, 4, 5, 6])
    """

    axes = 3
