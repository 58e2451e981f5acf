"""From a module to a model file that runs without torch."""

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from torch import nn

from lstmkit.nn.layer import RecurrentLayer
from lstmkit.nn.stages import StagedModel
from lstmkit.nn.tree import TreeLSTM
from lstmkit.runtime import SequenceModel, Stage
from lstmkit.spec import CellSpec, ModelFileError, OptionError, torch_spec


def save_model(path: str | os.PathLike[str], module: nn.Module) -> None:
    """Write a module to one file for :func:`lstmkit.load`, which predicts and streams without torch.

    Weights are kept in float32. Dropout is not part of the file's model.

    Args:
        path: Where to; ``.safetensors`` is the usual ending.
        module: A recurrent layer of lstmkit.nn, a ``torch.nn.LSTM``, ``GRU`` or ``RNN``, or a :class:`StagedModel` that
            reads ``x`` step by step. Times, intervals or static features that a layer reads beside its input become
            the last columns of ``x``.

    Raises:
        OptionError: another kind of module, as a TreeLSTM, or stages that do not work step by step.
        LSTMKitError: the path cannot be written to, the disk is full, or a weight is not finite.

    Example:
        >>> import lstmkit, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
        >>> save_model(path, lstmkit.nn.GRU(3, 5))
        >>> lstmkit.load(path).stream().step([0.1, 0.2, 0.3]).shape
        (5,)
    """
    if isinstance(module, StagedModel):
        stages, arrays = module.stages, module.arrays()
    elif isinstance(module, RecurrentLayer | nn.LSTM | nn.GRU | nn.RNN):
        stages, arrays = _as_stage(module)
    elif isinstance(module, TreeLSTM):
        raise OptionError("cannot save a TreeLSTM: it runs over trees, and the runtime's models run from step to step")
    else:
        raise OptionError(
            f"cannot save a {type(module).__name__}; give a recurrent layer, or a StagedModel of the stages that the "
            "runtime has"
        )
    document = {
        "task": "sequence",
        "sequence": _step_sizes(stages),
        "stages": [stage.to_dict() for stage in stages],
    }
    try:
        model = SequenceModel(document, arrays)
    except ModelFileError as error:
        raise OptionError(f"these stages are no model that works step by step: {_reason(error)}") from None
    model.save(path)


def _as_stage(layer: nn.Module) -> tuple[list[Stage], dict[str, NDArray[Any]]]:
    """One stage, called as its cell, and its weights; ``getattr`` finds those that are parametrised too."""
    spec = layer.spec if isinstance(layer, RecurrentLayer) else torch_spec(layer)
    learned = isinstance(layer, RecurrentLayer) and layer.learn_initial_state
    options: dict[str, Any] = {"cell": spec.to_dict(), "learn_initial_state": learned}
    stage = Stage(spec.cell, "recurrent", ("x",), options)
    arrays = {f"{spec.cell}.{name}": getattr(layer, name) for name in stage.parameter_shapes()}
    return [stage], {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in arrays.items()}


def _step_sizes(stages: Sequence[Stage]) -> dict[str, int]:
    """Features of ``x`` and its axes of space, where it has any, as the first stage that reads it alone says."""
    for stage in stages:
        if stage.inputs == ("x",) and stage.kind == "recurrent":
            spec = CellSpec.from_dict(stage.options["cell"])
            axes = {"space_axes": len(spec.kernel_size)} if spec.kernel_size else {}
            return {"input_size": spec.read_size, **axes}
        if stage.inputs == ("x",) and stage.kind == "linear":
            return {"input_size": stage.options["features"]}
    raise OptionError("no linear or recurrent stage reads the input x alone; a model that works step by step has one")


def _reason(error: ModelFileError) -> str:
    return str(error).removeprefix("the model file is damaged: ")
