"""What a sequence and what comes with it must look like, checked before any arithmetic."""

from collections.abc import Mapping, Sequence
from typing import Any

from lstmkit.reference.arrays import Array
from lstmkit.spec import CellSpec, ShapeError


def check_parameters(spec: CellSpec, parameters: Mapping[str, Array]) -> None:
    """Every parameter is there and has its shape.

    Raises:
        ShapeError: one is missing or has another shape.
    """
    for name, shape in spec.parameter_shapes().items():
        if name not in parameters:
            raise ShapeError(f"the parameter {name!r} of shape {shape} is missing")
        expect_shape(name, parameters[name], shape)


def check_sequence(
    spec: CellSpec, x: Array, state: Sequence[Array] | None, lengths: Array | None, resets: Array | None
) -> None:
    """Shapes of input ``(T, B, I)``, state, lengths and resets; nothing here looks at a value.

    Raises:
        ShapeError: a shape or dtype does not fit; the message shows both sides.
    """
    axes = len(spec.kernel_size)
    if x.ndim != 3 + axes or x.shape[2] != spec.input_size:
        space = "".join([", X", ", Y", ", Z"][:axes])
        raise ShapeError(f"the input must have shape (T, B, {spec.input_size}{space}), not {tuple(x.shape)}")
    space = tuple(x.shape[3:])
    if min((1, *spec.output_space(space))) < 1:
        raise ShapeError(f"a kernel of {spec.kernel_size} leaves nothing of a space of {space}")
    if x.shape[0] == 0:
        raise ShapeError("the input has no time steps; it needs at least 1")
    steps, batch = x.shape[:2]
    check_state(spec, state, batch, space)
    if lengths is not None:
        expect_shape("lengths", lengths, (batch,))
    if resets is not None:
        expect_shape("resets", resets, (steps, batch))
        if "bool" not in str(resets.dtype):
            raise ShapeError(f"resets must be of type bool, not {resets.dtype}")


def check_state(spec: CellSpec, state: Sequence[Array] | None, batch: int, space: tuple[int, ...] = ()) -> None:
    """A state is None or holds the cell's states, (h, c) of an LSTM.

    Raises:
        ShapeError: it is something else.
    """
    if state is None:
        return
    shapes = spec.state_shapes(space)
    if len(state) != len(shapes):
        raise ShapeError(f"the state must be {describe_states(spec)}, not {len(state)} arrays")
    for (name, shape), value in zip(shapes.items(), state, strict=True):
        expect_shape(name, value, (spec.state_rows, batch, *shape))


def check_extra(spec: CellSpec, x: Array, extra: Array | None) -> None:
    """What a cell reads beside its input ``(..., I)`` is there, ``(..., E)``, where it reads anything.

    Raises:
        ShapeError: it is missing, too much or of another shape.
    """
    name = spec.entry.extra
    if name is None and extra is not None:
        raise ShapeError(f"the cell {spec.cell!r} reads nothing beside its input")
    if name is not None and extra is None:
        raise ShapeError(f"the cell {spec.cell!r} needs {name} beside its input")
    if extra is not None:
        expect_shape(str(name), extra, (*x.shape[:-1], spec.extra_size))


def describe_states(spec: CellSpec) -> str:
    """The cell's states in words: ``the pair (h, c)``."""
    names = tuple(spec.state_shapes())
    kind = {1: "one array", 2: "the pair"}.get(len(names), f"the {len(names)} arrays")
    return f"{kind} ({', '.join(names)})"


def check_lengths(lengths: Array, steps: int) -> None:
    """Each length is a whole number in 1..T.

    Raises:
        ShapeError: one is not.
    """
    if "int" not in str(lengths.dtype):
        raise ShapeError(f"lengths must be whole numbers, not {lengths.dtype}")
    if lengths.shape[0] and (int(lengths.min()) < 1 or int(lengths.max()) > steps):
        raise ShapeError(
            f"every length must be in 1..{steps}, but they reach from {int(lengths.min())} to {int(lengths.max())}; "
            "leave empty sequences out of the batch"
        )


def expect_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise a ShapeError unless ``value`` has ``shape``."""
    if tuple(value.shape) != shape:
        raise ShapeError(f"{name} must have shape {shape}, not {tuple(value.shape)}")
