"""Writing Keras's ``.keras`` files; Keras is not needed."""

import io
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lstmkit.interop.chain import check_chain, layer_of
from lstmkit.interop.keras_layers import to_keras
from lstmkit.interop.keras_options import snake_case
from lstmkit.interop.layer import Array
from lstmkit.runtime import SequenceModel
from lstmkit.spec import OptionError, atomic_write, import_extra


def write_keras_model(path: str | os.PathLike[str], model: SequenceModel, space: Sequence[int] = ()) -> None:
    """Write a chain as a Sequential model that gives a step for every step.

    Args:
        path: The file.
        model: The chain.
        space: Lengths of the axes of space where there is a ConvLSTM.

    Raises:
        OptionError: Keras has no layer for a stage, or ``space`` is missing.
        ShapeError: the model cannot run over such a space.
        LSTMKitError: the path cannot be written to.
    """
    check_chain(model)
    if model.space_axes and not space:
        raise OptionError(
            "a ConvLSTM of Keras has fixed lengths of its axes of space, which this model leaves open; "
            "give space=, for example (9, 8), or --space 9,8"
        )
    model.spaces(space)
    shape = [None, None, *space, model.input_size]
    layers = [{"class_name": "InputLayer", "config": {"batch_shape": shape, "name": "x"}}]
    weights: list[tuple[str, list[list[Array]]]] = []
    for stage in model.stages:
        for kind, config, arrays in _written(model, stage):
            layers.append({"class_name": kind, "config": config})
            weights.append((kind, arrays))
    described = [{"module": "keras.layers", "registered_name": None, **layer} for layer in layers]
    config = {"module": "keras", "class_name": "Sequential", "registered_name": None}
    config |= {"config": {"name": "lstmkit", "trainable": True, "layers": described}}
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.0.0", "date_saved": "2000-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", _hdf5(weights))


def _written(model: SequenceModel, stage: Any) -> list[tuple[str, dict[str, Any], list[list[Array]]]]:
    """The Keras layers of one stage."""
    if stage.kind == "recurrent":
        layer = layer_of(model, stage)
        layers = to_keras(replace(layer, call={"data_format": "channels_last"}) if layer.spec.kernel_size else layer)
        return [
            (kind, {**config, "name": f"{stage.name}_{k}"}, arrays) for k, (kind, config, arrays) in enumerate(layers)
        ]
    if stage.kind == "linear":
        own = model.weights[stage.name]
        arrays = [own["weight"].T, *([own["bias"]] if "bias" in own else [])]
        config = {
            "name": stage.name,
            "units": stage.options["units"],
            "activation": "linear",
            "use_bias": "bias" in own,
        }
        return [("Dense", config, [arrays])]
    if stage.kind == "dropout":
        return [("Dropout", {"name": stage.name, "rate": stage.options["rate"]}, [])]
    if stage.kind == "relu":
        return [("Activation", {"name": stage.name, "activation": "relu"}, [])]
    raise OptionError(f"Keras has no layer for the stage {stage.name!r} of the kind {stage.kind!r}")


def _hdf5(weights: list[tuple[str, list[list[Array]]]]) -> bytes:
    h5py = import_extra("h5py", "convert")
    content = io.BytesIO()
    counts: dict[str, int] = {}
    with h5py.File(content, "w") as file:
        for kind, arrays in weights:
            snake = snake_case(kind)
            counts[snake] = counts.get(snake, -1) + 1
            group = file.create_group(f"layers/{snake}_{counts[snake]}" if counts[snake] else f"layers/{snake}")
            inner = {"Bidirectional": ["forward_layer/cell", "backward_layer/cell"], "Dense": [""]}.get(kind, ["cell"])
            for place, own in zip(inner, arrays, strict=False):
                variables = group.create_group(f"{place}/vars" if place else "vars")
                for k, array in enumerate(own):
                    variables.create_dataset(str(k), data=np.ascontiguousarray(array, np.float32))
    return content.getvalue()
