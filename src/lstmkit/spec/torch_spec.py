"""What a layer of torch.nn is, read from its attributes; torch itself is not needed."""

from typing import Any

from lstmkit.spec.cell import CellSpec

# torch.nn's classes -> cells of the catalog.
TORCH_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn", "LSTMCell": "lstm", "GRUCell": "gru", "RNNCell": "rnn"}


def torch_spec(module: Any) -> CellSpec:
    """The stack that a ``torch.nn.LSTM``, ``GRU``, ``RNN``, one of their cells, or a subclass of one is.

    Example:
        >>> import torch
        >>> torch_spec(torch.nn.RNN(2, 3, nonlinearity="relu")).nonlinearity
        'relu'
    """
    name = next(base.__name__ for base in type(module).__mro__ if base.__name__ in TORCH_CELLS)
    cell = TORCH_CELLS[name]
    options: dict[str, Any] = {"nonlinearity": module.nonlinearity} if cell == "rnn" else {}
    return CellSpec(
        module.input_size,
        module.hidden_size,
        getattr(module, "num_layers", 1),
        bool(module.bias),
        getattr(module, "bidirectional", False),
        getattr(module, "proj_size", 0),
        cell,
        **options,
    )
