"""Every cell that runs over sequences, as the runtime serves it: layers with random weights and steps to feed them."""

from typing import Any

import numpy as np
import torch
from helpers.models import randomise
from helpers.specs import NEEDED, OPTIONS
from numpy.typing import NDArray

from lstmkit import nn
from lstmkit.spec import CATALOG, CellSpec

Array = NDArray[Any]

SEQUENTIAL = [cell for cell, entry in CATALOG.items() if entry.driver != "tree"]


def make_spec(cell: str, **options: Any) -> CellSpec:
    """Three features, four units."""
    return CellSpec(3, 4, cell=cell, **(NEEDED.get(cell, {}) | options))


# A cell that is new in the catalog is served with its defaults at once.
DEFAULT = {cell: make_spec(cell) for cell in SEQUENTIAL}
SERVED = (
    DEFAULT
    | {f"{cell}-L2": make_spec(cell, num_layers=2) for cell in SEQUENTIAL}
    | {f"{cell}-no-bias": make_spec(cell, bias=False) for cell in SEQUENTIAL}
    | {f"{cell}-{name}": make_spec(cell, **own) for cell, sets in OPTIONS.items() for name, own in sets.items()}
    | {"lstm-projected": make_spec("lstm", proj_size=2)}
    | {f"conv_lstm-{len(sizes)}d": make_spec("conv_lstm", kernel_size=sizes) for sizes in ((3,), (1, 3, 2))}
)
BIDIRECTIONAL = {cell: make_spec(cell, num_layers=2, bidirectional=True) for cell in SEQUENTIAL}


def space_of(spec: CellSpec) -> tuple[int, ...]:
    """Lengths of the axes of space of the steps that :func:`draw_steps` draws."""
    return (5, 4, 3)[: len(spec.kernel_size)]


def make_layer(spec: CellSpec, *, seed: int = 0, learn: bool = True) -> Any:
    """The layer, with every parameter and first state drawn at random; a normaliser starts above zero."""
    layer = randomise(nn.build(spec, batch_first=True, learn_initial_state=learn), seed)
    if learn and "n" in spec.entry.states:
        with torch.no_grad():
            layer.n_0.abs_().add_(0.5)
    return layer


def draw_steps(spec: CellSpec, batch: int = 3, steps: int = 7, seed: int = 1) -> Array:
    """Steps ``(B, T, I + E, *space)``: features, then uneven intervals, growing times, or what stays the same."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, steps, spec.read_size, *space_of(spec)))
    if spec.entry.extra in ("times", "intervals"):
        x[..., -1] = rng.uniform(0, 2, size=(batch, steps))
    if spec.entry.extra == "times":
        x[..., -1] = x[..., -1].cumsum(1)
    if spec.entry.extra == "static":
        x[..., spec.input_size :] = x[:, :1, spec.input_size :]
    return x.astype(np.float32)


def run_layer(layer: Any, x: Array) -> tuple[Array, tuple[Array, ...]]:
    """The layer itself in float64, called as people call it: output and last states."""
    spec, given = layer.spec, torch.from_numpy(x).double()
    beside = given[:, :, spec.input_size :]
    name = spec.entry.extra
    named = {} if name is None else {name: beside[:, 0] if name == "static" else beside[..., -1]}
    layer = layer.double()
    with torch.no_grad():
        output, state = layer(given[:, :, : spec.input_size], **named)
    layer.float()
    states = state if isinstance(state, tuple) else (state,)
    return output.numpy(), tuple(value.numpy() for value in states)


def last_states(layer: Any, x: Array) -> dict[str, Array]:
    """The states after the steps ``(T, ...)`` as a stream of the saved layer names them."""
    states = run_layer(layer, x[None])[1]
    return {f"{layer.spec.cell}.{name}": value for name, value in zip(layer.spec.state_shapes(), states, strict=True)}
