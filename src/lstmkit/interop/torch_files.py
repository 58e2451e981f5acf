"""State dicts in files: ``.pt`` by torch's loader for weights alone, and ``.safetensors`` of anybody's."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lstmkit.interop.chain import Chain, check_chain, layer_of
from lstmkit.interop.layer import Layer
from lstmkit.interop.torch_layers import from_state_dict, to_torch
from lstmkit.runtime import SequenceModel
from lstmkit.spec import ModelFileError, OptionError, atomic_write, import_extra


def read_state_layers(path: str | os.PathLike[str]) -> dict[str, Layer]:
    """The recurrent layers of a state dict by the names of their modules.

    Raises:
        ModelFileError: the file is no state dict, truncated or damaged, or would have to execute something.
        ShapeError: weights do not belong together.
    """
    return from_state_dict(_read(path))


def read_state_model(path: str | os.PathLike[str]) -> Chain:
    """A state dict of one recurrent layer and nothing else; a dict does not say in which order layers run.

    Raises:
        ModelFileError: the file is no state dict, truncated or damaged.
        OptionError: there is more in it than one layer.
    """
    state = _read(path)
    layers = from_state_dict(state)
    if len(layers) != 1:
        names = ", ".join(map(repr, layers)) or "none"
        raise OptionError(f"{path} has {len(layers)} recurrent layers ({names}); pick one by --layer")
    ((name, layer),) = layers.items()
    left = [key for key in state if key.rpartition(".")[0] != name]
    if left:
        raise OptionError(
            f"{path} has more than a recurrent layer: {left[0]!r}; take the layer alone by --layer {name}"
        )
    chain = Chain()
    chain.add_recurrent(name or layer.spec.cell, layer)
    chain.input_axes = chain.output_axes = "TBF"
    return chain


def write_state(path: str | os.PathLike[str], model: SequenceModel) -> None:
    """Write the weights of a chain by torch's names; of a single stack without a prefix, as its layer has them.

    Raises:
        OptionError: a stage has weights that torch has no layer for.
        LSTMKitError: the path cannot be written to.
    """
    torch = import_extra("torch", "train")
    check_chain(model)
    alone = len(model.stages) == 1
    state: dict[str, Any] = {}
    for stage in model.stages:
        own = model.weights[stage.name]
        if own and stage.kind not in ("recurrent", "linear"):
            raise OptionError(f"torch.nn has no layer for the stage {stage.name!r} of the kind {stage.kind!r}")
        if stage.kind == "recurrent":
            to_torch(layer_of(model, stage))  # refuses what torch.nn does not compute
        state |= {name if alone else f"{stage.name}.{name}": torch.from_numpy(np.array(own[name])) for name in own}
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    if os.fspath(path).endswith(".safetensors"):
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelFileError(f"{path} is truncated or damaged ({_brief(error)}); copy it again") from None
    torch = import_extra("torch", "train")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each have their own
        raise ModelFileError(
            f"{path} is no file of weights alone, or damaged ({_brief(error)}); save a state_dict"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        kind = type(state).__name__
        raise ModelFileError(f"{path} holds a {kind} and no state_dict of tensors; save model.state_dict()")
    return state


def _brief(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]
