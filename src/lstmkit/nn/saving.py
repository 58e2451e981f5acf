"""From a module to a model file that runs without torch."""

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from torch import nn

from lstmkit.nn.lstm import LSTM
from lstmkit.nn.stages import StagedModel
from lstmkit.runtime import SequenceModel, Stage
from lstmkit.spec import CellSpec, ModelFileError, OptionError

_SIZES = ("input_size", "hidden_size", "num_layers", "bias", "bidirectional", "proj_size")


def save_model(path: str | os.PathLike[str], module: nn.Module) -> None:
    """Write a module to one file for :func:`lstmkit.load`, which predicts and streams without torch.

    Weights are kept in float32. Dropout is not part of the file's model.

    Args:
        path: Where to; ``.safetensors`` is the usual ending.
        module: An :class:`LSTM`, a ``torch.nn.LSTM``, or a :class:`StagedModel` that reads ``x`` step by step.

    Raises:
        OptionError: another kind of module, or stages that do not work step by step.
        LSTMKitError: the path cannot be written to, the disk is full, or a weight is not finite.

    Example:
        >>> import lstmkit, tempfile, torch
        >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
        >>> save_model(path, LSTM(3, 5))
        >>> lstmkit.load(path).stream().step([0.1, 0.2, 0.3]).shape
        (5,)
    """
    if isinstance(module, StagedModel):
        stages, arrays = module.stages, module.arrays()
    elif isinstance(module, LSTM | nn.LSTM):
        stages, arrays = _as_stage(module)
    else:
        raise OptionError(
            f"cannot save a {type(module).__name__}; give an LSTM, or a StagedModel of the stages that the runtime has"
        )
    document = {
        "task": "sequence",
        "sequence": {"input_size": _input_size(stages)},
        "stages": [stage.to_dict() for stage in stages],
    }
    try:
        model = SequenceModel(document, arrays)
    except ModelFileError as error:
        raise OptionError(f"these stages are no model that works step by step: {_reason(error)}") from None
    model.save(path)


def _as_stage(layer: LSTM | nn.LSTM) -> tuple[list[Stage], dict[str, NDArray[Any]]]:
    """One stage and its weights; ``getattr`` finds those that are parametrised too."""
    spec = layer.spec if isinstance(layer, LSTM) else CellSpec(*(getattr(layer, name) for name in _SIZES))
    options: dict[str, Any] = {"cell": spec.to_dict(), "learn_initial_state": hasattr(layer, "h_0")}
    stage = Stage("lstm", "recurrent", ("x",), options)
    arrays = {f"lstm.{name}": getattr(layer, name) for name in stage.parameter_shapes()}
    return [stage], {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in arrays.items()}


def _input_size(stages: Sequence[Stage]) -> int:
    """Features of ``x``, as the first stage that reads it alone says."""
    for stage in stages:
        if stage.inputs == ("x",) and stage.kind == "recurrent":
            return stage.options["cell"]["input_size"]
        if stage.inputs == ("x",) and stage.kind == "linear":
            return stage.options["features"]
    raise OptionError("no linear or recurrent stage reads the input x alone; a model that works step by step has one")


def _reason(error: ModelFileError) -> str:
    return str(error).removeprefix("the model file is damaged: ")
