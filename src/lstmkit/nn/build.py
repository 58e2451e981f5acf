"""From a description to a layer."""

from collections.abc import Mapping
from typing import Any

import torch

from lstmkit.nn.conv import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from lstmkit.nn.layer import RecurrentLayer
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.minimal import MinGRU, MinLSTM
from lstmkit.nn.recurrent import Recurrent
from lstmkit.nn.relatives import JANET, LSTM1997, ONLSTM, MogrifierLSTM, MultiplicativeLSTM
from lstmkit.nn.rnn import GRU, RNN
from lstmkit.nn.timed import EALSTM, PhasedLSTM, TimeAwareLSTM
from lstmkit.nn.xlstm import MLSTM, SLSTM
from lstmkit.reference import check_parameters
from lstmkit.spec import CellSpec, OptionError

_RELATIVES: tuple[type[Recurrent], ...] = (
    *(GRU, RNN, MinGRU, MinLSTM, MLSTM, SLSTM, JANET, LSTM1997, ONLSTM),
    *(MogrifierLSTM, MultiplicativeLSTM, EALSTM, PhasedLSTM, TimeAwareLSTM),
)
LAYERS: dict[str, type[RecurrentLayer]] = {"lstm": LSTM, **{kind.cell: kind for kind in _RELATIVES}}
_CONVOLUTIONS: dict[int, type[RecurrentLayer]] = {kind.axes: kind for kind in (ConvLSTM1D, ConvLSTM2D, ConvLSTM3D)}


def build(
    spec: CellSpec, parameters: Mapping[str, Any] | None = None, *, dtype: torch.dtype | None = None, **options: Any
) -> Any:
    """The layer of a CellSpec, with these numbers in it.

    Args:
        spec: The stack.
        parameters: Arrays or tensors by the names of ``spec.parameter_shapes()``; None draws them.
        dtype: Type of the parameters; None is that of the arrays.
        **options: What the layer's class takes beyond its spec: ``batch_first``, ``dropout``, ``engine``, ...

    Raises:
        OptionError: no layer executes the cell.
        ShapeError: a parameter is missing or has another shape.

    Example:
        >>> build(CellSpec(input_size=2, hidden_size=3, num_layers=2), batch_first=True)
        LSTM(2, 3, num_layers=2, batch_first=True)
    """
    kind = _find_layer(spec)
    if parameters is None:
        return kind(**_arguments(spec), dtype=dtype, **options)
    check_parameters(spec, parameters)
    tensors = {name: torch.as_tensor(parameters[name]) for name in spec.parameter_shapes()}
    dtype = dtype or next(iter(tensors.values())).dtype
    layer = kind(**_arguments(spec), dtype=dtype, **options)
    with torch.no_grad():
        for name, tensor in tensors.items():
            getattr(layer, name).copy_(tensor)
    return layer


def _find_layer(spec: CellSpec) -> type[Any]:
    if spec.kernel_size:
        return _CONVOLUTIONS[len(spec.kernel_size)]
    if spec.cell not in LAYERS:
        raise OptionError(
            f"no layer runs the cell {spec.cell!r} over sequences: its driver is {spec.entry.driver!r}; "
            f"there are layers for: conv_lstm, {', '.join(LAYERS)}"
        )
    return LAYERS[spec.cell]


def _arguments(spec: CellSpec) -> dict[str, Any]:
    """A layer's arguments are the options of its spec that its cell has; the cell itself is the layer's class."""
    document = spec.to_dict()
    del document["cell"]
    if not spec.proj_size:
        del document["proj_size"]
    sizes, variant = document.pop("layer_sizes", spec.hidden_size), document.pop("variant", {})
    return document | {"hidden_size": sizes} | variant
