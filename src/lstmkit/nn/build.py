"""From a description to a layer."""

from collections.abc import Mapping
from typing import Any

import torch

from lstmkit.nn.conv import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from lstmkit.nn.lstm import LSTM
from lstmkit.nn.minimal import MinGRU, MinLSTM
from lstmkit.nn.relatives import JANET, LSTM1997, ONLSTM, MogrifierLSTM, MultiplicativeLSTM
from lstmkit.nn.rnn import GRU, RNN
from lstmkit.nn.timed import EALSTM, PhasedLSTM, TimeAwareLSTM
from lstmkit.nn.tree import TreeLSTM
from lstmkit.nn.xlstm import MLSTM, SLSTM
from lstmkit.reference import check_parameters
from lstmkit.spec import CellSpec, OptionError

_RELATIVES = (GRU, RNN, MinGRU, MinLSTM, MLSTM, SLSTM, JANET, LSTM1997, ONLSTM, MogrifierLSTM, MultiplicativeLSTM)
_TIMED = (EALSTM, PhasedLSTM, TimeAwareLSTM)

LAYERS: dict[str, Any] = {"lstm": LSTM, "tree": TreeLSTM, **{kind.cell: kind for kind in (*_RELATIVES, *_TIMED)}}
# By the axes of space.
CONVOLUTIONS = {1: ConvLSTM1D, 2: ConvLSTM2D, 3: ConvLSTM3D}


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
        OptionError: a TreeLSTM of several layers or directions.
        ShapeError: a parameter is missing or has another shape.

    Example:
        >>> build(CellSpec(input_size=2, hidden_size=3, num_layers=2), batch_first=True)
        LSTM(2, 3, num_layers=2, batch_first=True)
    """
    kind = CONVOLUTIONS[len(spec.kernel_size)] if spec.cell == "conv_lstm" else LAYERS[spec.cell]
    if spec.cell == "tree" and (spec.num_layers > 1 or spec.bidirectional):
        raise OptionError("a TreeLSTM has one layer and no direction; put several into a module of your own")
    if parameters is None:
        return kind(**_arguments(spec), dtype=dtype, **options)
    check_parameters(spec, parameters)
    tensors = {name: torch.as_tensor(parameters[name]) for name in spec.parameter_shapes()}
    dtype = dtype or next(iter(tensors.values())).dtype
    layer = kind(**_arguments(spec), dtype=dtype, **options)
    with torch.no_grad():
        for name, tensor in tensors.items():
            getattr(layer, name.removesuffix("_l0") if kind is TreeLSTM else name).copy_(tensor)
    return layer


def _arguments(spec: CellSpec) -> dict[str, Any]:
    """A layer's arguments are the options of its spec that its cell has; the cell itself is the layer's class."""
    least: dict[str, Any] = {"input_size": spec.input_size, "hidden_size": spec.hidden_size}
    if spec.kernel_size:
        least["kernel_size"] = spec.kernel_size
    plain, document = CellSpec(**least, cell=spec.cell).to_dict(), spec.to_dict()
    sizes, variant = document.pop("layer_sizes", None), document.pop("variant", {})
    if sizes:
        least["hidden_size"] = sizes
    return least | {name: value for name, value in document.items() if value != plain.get(name)} | variant
