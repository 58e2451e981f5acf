"""The activations that a cell can be given, as data."""

from sys import float_info
from typing import Any

from lstmkit.spec.errors import OptionError

# Name -> its constants, alpha and beta, where it has some. The formulas stand in lstmkit.reference.activations.
ACTIVATIONS: dict[str, tuple[float, ...]] = {
    "sigmoid": (),
    "tanh": (1.0, 1.0),
    "hard_sigmoid": (1 / 6, 0.5),
    "relu": (),
    "softsign": (),
    "identity": (),
    "affine": (1.0, 0.0),
    "elu": (1.0,),
    "selu": (),
    "leaky_relu": (0.01,),
    "thresholded_relu": (1.0,),
    "relu6": (),
    "softplus": (),
    "squareplus": (),
    "sparse_plus": (),
    "exponential": (),
    "silu": (),
    "hard_silu": (),
    "gelu": (),
    "mish": (),
    "hard_tanh": (),
    "log_sigmoid": (),
    "tanh_shrink": (),
    "soft_shrink": (),
    "hard_shrink": (),
}

# A name, or a name with its constants: ("elu", 0.5), ("hard_sigmoid", 0.2, 0.5).
Activation = str | tuple[str, float] | tuple[str, float, float]


def read_activation(option: str, value: Any) -> Activation:
    """Check an activation, and write it in one way: constants that are those of the name alone are dropped.

    Raises:
        OptionError: there is no such activation, it has other constants, or they are no finite numbers.

    Example:
        >>> read_activation("gate_activation", ["hard_sigmoid", 0.2, 0.5])
        ('hard_sigmoid', 0.2, 0.5)
        >>> read_activation("cell_activation", ("tanh", 1.0, 1.0))
        'tanh'
    """
    name, constants = (value, None) if isinstance(value, str) else _split(option, value)
    if name not in ACTIVATIONS:
        raise OptionError(f"{option} must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    defaults = ACTIVATIONS[name]
    if constants is not None and len(constants) != len(defaults):
        known = ("no constants", "one constant, alpha", "two constants, alpha and beta")[len(defaults)]
        raise OptionError(f"{option}: {name!r} takes {known}, not {len(constants)}")
    if constants is None or constants == defaults:
        return "identity" if name == "affine" else name
    return (name, *constants)  # pyright: ignore[reportReturnType]


def activation_constants(activation: Activation) -> tuple[str, *tuple[float, ...]]:
    """Name and constants, of which there may be none.

    Example:
        >>> activation_constants("relu"), activation_constants("elu"), activation_constants(("tanh", 2.0, 0.5))
        (('relu',), ('elu', 1.0), ('tanh', 2.0, 0.5))
    """
    return (activation, *ACTIVATIONS[activation]) if isinstance(activation, str) else activation


def _split(option: str, value: Any) -> tuple[str, tuple[float, ...]]:
    if isinstance(value, tuple | list) and value and isinstance(value[0], str):
        constants: list[Any] = [*value[1:]]  # pyright: ignore[reportUnknownArgumentType]
        if all(_is_finite(constant) for constant in constants):
            return value[0], tuple(map(float, constants))
    raise OptionError(f"{option} must be a name, or a name with its constants, not {value!r}")


def _is_finite(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= float_info.max
