"""torch.nn's recurrent layers and cells, and state dicts of them. The layout is lstmkit's own."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmkit.interop.layer import Array, Layer, as_array, check_call
from lstmkit.spec import TORCH_CELLS, CellSpec, OptionError, ShapeError, import_extra, torch_spec

_NAME = re.compile(r"(?:(?P<prefix>.*)\.)?(?P<kind>(?:weight|bias)_(?:ih|hh|hr))(?P<suffix>_l\d+(?:_reverse)?|)$")


def from_torch(module: Any) -> Layer:
    """Take the weights of a recurrent layer or cell of torch.nn, or of lstmkit.nn.

    Args:
        module: An ``LSTM``, ``GRU``, ``RNN``, or one of their cells. Dropout acts in training alone and becomes a note.

    Raises:
        OptionError: another kind of module, or one with learned first states.

    Example:
        >>> import torch
        >>> from_torch(torch.nn.LSTM(2, 3, num_layers=2)).spec.num_layers
        2
    """
    nn = import_extra("torch", "train").nn
    if hasattr(module, "spec") and isinstance(module.spec, CellSpec):
        spec = module.spec
    elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
        spec = torch_spec(module)
    else:
        raise OptionError(f"expected an LSTM, GRU, RNN or a cell of torch.nn, not {type(module).__name__}")
    if getattr(module, "learn_initial_state", False):
        raise OptionError("the layer has learned first states, which a Layer does not hold; lstmkit.nn.save_model does")
    ending = "" if hasattr(module, "num_layers") else "_l0"
    arrays = {name: as_array(getattr(module, name.removesuffix(ending))) for name in spec.parameter_shapes()}
    rate = float(getattr(module, "dropout", 0.0))
    return Layer(spec, arrays, notes=(f"dropout={rate:g} between layers acts in training alone",) if rate else ())


def to_torch(layer: Layer, *, cell: bool = False) -> Any:
    """The torch.nn layer of a stack, or its cell, with these weights in their precision.

    Args:
        layer: The stack.
        cell: Make an ``LSTMCell``, ``GRUCell`` or ``RNNCell``.

    Raises:
        OptionError: torch.nn has no such layer, cannot call it so, or a cell cannot hold the stack.

    Example:
        >>> import torch
        >>> lstm = torch.nn.LSTM(2, 3)
        >>> bool((to_torch(from_torch(lstm)).weight_hh_l0 == lstm.weight_hh_l0).all())
        True
    """
    torch = import_extra("torch", "train")
    check_call(layer, "torch.nn")
    spec = layer.spec
    if cell and (spec.num_layers > 1 or spec.bidirectional or spec.proj_size):
        raise OptionError("a torch cell has one layer, one direction and no projection; leave out cell=True")
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in layer.parameters.items()}
    names = [name for name, of in TORCH_CELLS.items() if of == spec.cell and name.endswith("Cell") == cell]
    if not names:
        raise OptionError(f"torch.nn has no layer for the cell {spec.cell!r}")
    options: dict[str, Any] = {"nonlinearity": "relu"} if spec.nonlinearity == "relu" else {}
    if not cell:
        options |= {"num_layers": spec.num_layers, "bidirectional": spec.bidirectional}
    if spec.proj_size:
        options["proj_size"] = spec.proj_size
    dtype = next(iter(tensors.values())).dtype
    module = getattr(torch.nn, names[0])(spec.input_size, spec.hidden_size, bias=spec.bias, dtype=dtype, **options)
    if torch_spec(module) != spec:
        raise OptionError(f"torch.nn.{names[0]} has not all options of this stack: {spec.changes()}")
    module.load_state_dict({name.removesuffix("_l0") if cell else name: tensor for name, tensor in tensors.items()})
    return module


def from_state_dict(state: Mapping[str, Any], nonlinearity: str = "tanh") -> dict[str, Layer]:
    """The recurrent layers among the weights of a model, by the name of their module.

    The kind of each is told by the rows of its weights: four times the units are an LSTM, three times a GRU, once an
    RNN. A name ends as torch's layers and cells end it: ``weight_ih_l0``, ``bias_hh_l1_reverse``, ``weight_ih``.

    Args:
        state: Tensors or arrays by name.
        nonlinearity: Of the RNNs, ``"tanh"`` or ``"relu"``; their weights do not tell.

    Raises:
        ShapeError: the weights of one name do not belong together.

    Example:
        >>> import torch
        >>> model = torch.nn.ModuleDict({"memory": torch.nn.GRU(2, 3), "head": torch.nn.Linear(3, 1)})
        >>> list(from_state_dict(model.state_dict()))
        ['memory']
    """
    groups: dict[str, dict[str, Array]] = {}
    for name, value in state.items():
        match = _NAME.fullmatch(name)
        if match:
            own = groups.setdefault(match["prefix"] or "", {})
            own[match["kind"] + (match["suffix"] or "_l0")] = as_array(value)
    return {name: Layer(_spec_from_shapes(name, arrays, nonlinearity), arrays) for name, arrays in groups.items()}


def _spec_from_shapes(name: str, arrays: Mapping[str, Array], nonlinearity: str) -> CellSpec:
    where = f"the weights of {name or 'the layer'}"
    first, recurrent = arrays.get("weight_ih_l0"), arrays.get("weight_hh_l0")
    if first is None or recurrent is None or first.ndim != 2 or recurrent.ndim != 2:
        raise ShapeError(f"{where} lack the matrices weight_ih and weight_hh of their first layer")
    projection = arrays.get("weight_hr_l0")
    hidden = recurrent.shape[1] if projection is None else projection.shape[-1]
    rows = {4: "lstm", 3: "gru", 1: "rnn"}
    cell = rows.get(len(recurrent) // hidden) if hidden and len(recurrent) % hidden == 0 else None
    if cell is None:
        raise ShapeError(
            f"{where} have {len(recurrent)} rows for {hidden} units; an LSTM has 4 times its units, a GRU 3 times, "
            "an RNN once"
        )
    own: dict[str, Any] = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
    return CellSpec(
        first.shape[1],
        hidden,
        num_layers=1 + max(int(key.partition("_l")[2].partition("_")[0]) for key in arrays),
        bias="bias_ih_l0" in arrays,
        bidirectional="weight_ih_l0_reverse" in arrays,
        proj_size=0 if projection is None else projection.shape[0],
        cell=cell,
        **own,
    )
