"""Whether a file of another system gives the same numbers as the model that was made of it or for it."""

import os
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from lstmkit.interop.chain import SPACE_LETTERS, layer_of
from lstmkit.interop.files import Imported
from lstmkit.interop.layer import Array
from lstmkit.interop.torch_layers import to_torch
from lstmkit.runtime import SequenceModel
from lstmkit.spec import LSTMKitError, OptionError, import_extra

# Both sides compute in float32; a wrong gate order shows as differences of about 1.
TOLERANCE = 1e-4
BATCH, STEPS = 3, 7


class _NotRunError(Exception):
    """Why the other system did not run the file."""


def check_file(path: str | os.PathLike[str], imported: Imported) -> str:
    """One sentence on how far the file's own system and lstmkit lie apart on random input.

    Raises:
        LSTMKitError: they give different numbers.
    """
    runners = {".onnx": _run_onnx, ".keras": _run_keras, ".pt": _run_torch, ".pth": _run_torch}
    run = runners.get(Path(path).suffix.lower(), _run_torch)
    x = _draw((BATCH, STEPS, imported.model.input_size, *_space(imported.model)))
    try:
        theirs, system, x = run(path, imported, x)
    except _NotRunError as reason:
        return f"not checked against {Path(path).name}: {reason}"
    ours = imported.model.predict(x)
    theirs = _arranged(theirs, imported.output_axes)
    if "T" not in imported.output_axes:
        ours = ours[:, -1]
    difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
    if not difference <= TOLERANCE * max(1.0, float(np.abs(ours).max())):
        raise LSTMKitError(
            f"{system} gives other numbers for {path} than lstmkit, by up to {difference:.1e}: not converted"
        )
    return f"checked {Path(path).name}: {system} and lstmkit differ by at most {difference:.1e} on random input"


def _draw(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _space(model: SequenceModel) -> tuple[int, ...]:
    """Lengths of the axes of space, of which no kernel leaves nothing."""
    sizes = [spec.kernel_size for spec in model.cells.values()]
    return tuple([4 + axis + sum(own[axis] - 1 for own in sizes) for axis in range(model.space_axes)])


def _arranged(values: Array, axes: str) -> Array:
    """The other system's output as ``(B, T, F, *space)`` or ``(B, F, *space)``, directions side by side."""
    order = [axes.index(letter) for letter in f"BTDF{SPACE_LETTERS}" if letter in axes]
    turned = np.transpose(values, order)
    before = axes.count("B") + axes.count("T")
    features = turned.shape[before : len(order) - sum(letter in SPACE_LETTERS for letter in axes)]
    return turned.reshape(*turned.shape[:before], prod(features), *turned.shape[before + len(features) :])


def _run_onnx(path: Any, imported: Imported, x: Array) -> tuple[Array, str, Array]:
    if find_spec("onnxruntime") is None:
        raise _NotRunError("onnxruntime is not installed")
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        places = {given.name: given.shape for given in session.get_inputs()}
        main = next(name for name, shape in places.items() if len(shape) == 3 and shape[-1] == x.shape[-1])
        sizes = dict(zip(imported.input_axes, places[main], strict=True))
        batch, steps = (
            sizes[axis] if isinstance(sizes[axis], int) else size for axis, size in zip("BT", x.shape, strict=False)
        )
        x = _draw((batch, steps, x.shape[-1]))
        feed: dict[str, Array] = {main: x if imported.input_axes == "BTF" else x.swapaxes(0, 1)}
        for given in session.get_inputs():
            if given.name != main:
                shape = [size if isinstance(size, int) else batch for size in given.shape]
                feed[given.name] = (
                    np.full(shape, steps, np.int32) if "int" in given.type else np.zeros(shape, np.float32)
                )
        return np.asarray(session.run(None, feed)[0]), "ONNX Runtime", x
    except Exception as error:  # the runtime's own classes, of which there are many
        raise _NotRunError(f"ONNX Runtime refuses it ({str(error).splitlines()[0][:100]})") from None


def _run_keras(path: Any, imported: Imported, x: Array) -> tuple[Array, str, Array]:
    backends = [backend for backend in ("torch", "jax", "tensorflow") if find_spec(backend)]
    if find_spec("keras") is None or not backends:
        raise _NotRunError("Keras is not installed")
    os.environ.setdefault("KERAS_BACKEND", backends[0])
    try:
        with catch_warnings():
            simplefilter("ignore")  # Keras's own
            keras = import_extra("keras", "convert")
            model = keras.saving.load_model(os.fspath(path), compile=False, safe_mode=True)
            ours = "BTF" + SPACE_LETTERS[: x.ndim - 3]
            sizes = dict(zip(imported.input_axes, model.input_shape, strict=True))
            x = _draw(tuple([sizes[axis] or size for axis, size in zip(ours, x.shape, strict=True)]))
            turned = np.transpose(x, [ours.index(axis) for axis in imported.input_axes])
            return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(turned))), "Keras", x
    except Exception as error:  # of any backend
        raise _NotRunError(f"Keras refuses it ({str(error).splitlines()[0][:100]})") from None


def _run_torch(path: Any, imported: Imported, x: Array) -> tuple[Array, str, Array]:
    """Weights alone run in no system; torch.nn's layers with these weights stand for one."""
    if find_spec("torch") is None:
        raise _NotRunError("torch is not installed")
    torch = import_extra("torch", "train")
    if any(stage.options.get("learn_initial_state") for stage in imported.model.stages):
        raise _NotRunError("torch.nn has no layer with learned first states")
    with torch.no_grad():
        value = torch.from_numpy(x).transpose(0, 1)
        for stage in imported.model.stages:
            value = _torch_stage(torch, imported.model, stage, value)
    axes = imported.output_axes
    return (value if axes.index("T") == 0 else value.transpose(0, 1)).numpy(), "torch.nn", x


def _torch_stage(torch: Any, model: SequenceModel, stage: Any, value: Any) -> Any:
    weights = {name: torch.from_numpy(np.array(array)) for name, array in model.weights[stage.name].items()}
    if stage.kind == "recurrent":
        try:
            return to_torch(layer_of(model, stage))(value)[0]
        except OptionError as reason:
            raise _NotRunError(str(reason)) from None
    if stage.kind == "linear":
        return torch.nn.functional.linear(value, weights["weight"], weights.get("bias"))
    if stage.kind not in ("dropout", "relu"):
        raise _NotRunError(f"torch.nn has no layer for the stage {stage.kind!r}")
    return value.relu() if stage.kind == "relu" else value
