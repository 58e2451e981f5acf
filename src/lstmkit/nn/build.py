"""From a description to a layer."""

from collections.abc import Mapping
from typing import Any

import torch

from lstmkit.nn.conv import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from lstmkit.nn.layer import RecurrentLayer
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.minimal import MinGRU, MinLSTM
from lstmkit.nn.relatives import JANET, LSTM1997, ONLSTM, MogrifierLSTM, MultiplicativeLSTM
from lstmkit.nn.rnn import GRU, RNN
from lstmkit.nn.timed import EALSTM, PhasedLSTM, TimeAwareLSTM
from lstmkit.nn.xlstm import MLSTM, SLSTM
from lstmkit.reference import check_parameters
from lstmkit.spec import CellSpec, OptionError

_RELATIVES = (
    *(RNN, GRU, SLSTM, MLSTM, MinLSTM, MinGRU, JANET, MultiplicativeLSTM, MogrifierLSTM, ONLSTM, LSTM1997),
    *(PhasedLSTM, TimeAwareLSTM, EALSTM),
)
LAYERS: dict[str, type[RecurrentLayer]] = {"lstm": LSTM, **{kind.cell: kind for kind in _RELATIVES}}
_OVER_SPACE = {1: ConvLSTM1D, 2: ConvLSTM2D, 3: ConvLSTM3D}


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
        OptionError: the cell runs over no sequences.
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


def _find_layer(spec: CellSpec) -> type[RecurrentLayer]:
    if spec.kernel_size:
        return _OVER_SPACE[len(spec.kernel_size)]
    if spec.cell not in LAYERS:
        raise OptionError(f"the cell {spec.cell!r} runs over no sequences; these do: {', '.join(LAYERS)}, conv_lstm")
    return LAYERS[spec.cell]


def _arguments(spec: CellSpec) -> dict[str, Any]:
    """A layer's arguments are the options of its spec that its cell has; the cell itself is the layer's class."""
    changed = {name: value for name, value in spec.to_dict().items() if value != getattr(CellSpec, name, None)}
    changed.pop("cell", None)
    sizes, variant = changed.pop("layer_sizes", None), changed.pop("variant", {})
    return changed | ({"hidden_size": sizes} if sizes else {}) | variant
