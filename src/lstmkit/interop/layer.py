"""A recurrent stack on its way between two systems."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.reference import check_parameters
from lstmkit.spec import CellSpec, OptionError, ShapeError

Array = NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """A stack, its numbers in lstmkit's layout, and how the other system calls it.

    ``lstmkit.nn.build(layer.spec, layer.parameters)`` makes the torch layer of it.

    Args:
        spec: The stack.
        parameters: Arrays by torch's names, of the shapes of ``spec.parameter_shapes()``.
        call: What the other system does around the stack: arguments of :class:`lstmkit.nn.KerasCall` or
            :class:`lstmkit.nn.OnnxCall`; empty for the others.
        notes: What the stack cannot say, one sentence each: options that act in training alone, for example.

    Raises:
        ShapeError: a parameter is missing, unknown, not of numbers, or of another shape.

    Example:
        >>> spec = CellSpec(input_size=1, hidden_size=2, bias=False)
        >>> Layer(spec, {"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.ones((8, 2))}).spec.hidden_size
        2
    """

    spec: CellSpec
    parameters: Mapping[str, Array]
    call: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_parameters(self.spec, self.parameters)
        unknown = sorted(set(self.parameters) - set(self.spec.parameter_shapes()))
        if unknown:
            raise ShapeError(f"the stack has no parameter {unknown[0]!r}; it has: {', '.join(self.parameters)}")
        for name, array in self.parameters.items():
            if array.dtype.kind != "f":
                raise ShapeError(f"{name} must hold floating-point numbers, not {array.dtype}")


# What a caller does around a stack that changes its numbers; all else picks among them, or moves axes.
_PLAIN_CALLS = {"go_backwards": (False,), "direction": ("forward", "bidirectional"), "merge_mode": ("concat",)}


def check_call(layer: Layer, system: str, kept: Collection[str] = ()) -> None:
    """Refuse a way of calling the stack that would be lost in another system.

    Args:
        layer: The stack.
        system: What to call the other system.
        kept: Options of the call that it has too.

    Raises:
        OptionError: the other system would give other numbers.
    """
    for option, plain in _PLAIN_CALLS.items():
        value = layer.call.get(option, plain[0])
        if option not in kept and value not in plain:
            raise OptionError(
                f"{system} has no {option}={value!r}, with which this layer is called; "
                "take Layer(layer.spec, layer.parameters) for the stack without it"
            )


def as_floats(value: Any) -> Array:
    """An array of float32 or float64; narrower numbers are widened."""
    array = np.asarray(value)
    return array if array.dtype == np.float64 else np.asarray(array, np.float32)


def as_array(tensor: Any) -> Array:
    """A copy in NumPy of an array or tensor of any system; torch's half precisions become float32."""
    if not hasattr(tensor, "detach"):
        return np.array(tensor)
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()
    return tensor.cpu().numpy().copy()
