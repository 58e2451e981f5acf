"""The activations that a cell can be given, as data."""

from sys import float_info
from typing import Any

from lstmkit.spec.errors import OptionError

# Name -> its constants (alpha, beta) where it has some. The formulas stand in lstmkit.reference.activations.
ACTIVATIONS: dict[str, tuple[float, float] | None] = {
    "sigmoid": None,
    "tanh": (1.0, 1.0),
    "hard_sigmoid": (1 / 6, 0.5),
    "relu": None,
    "softsign": None,
    "identity": None,
}

# A name, or a name with its two constants: ("hard_sigmoid", 0.2, 0.5).
Activation = str | tuple[str, float, float]


def read_activation(option: str, value: Any) -> Activation:
    """Check an activation; constants that are those of the name alone are dropped, so equal ones compare equal.

    Raises:
        OptionError: there is no such activation, it has no constants, or they are not two finite numbers.

    Example:
        >>> read_activation("gate_activation", ["hard_sigmoid", 0.2, 0.5])
        ('hard_sigmoid', 0.2, 0.5)
        >>> read_activation("cell_activation", ("tanh", 1.0, 1.0))
        'tanh'
    """
    name, constants = (value, None) if isinstance(value, str) else _split(option, value)
    if name not in ACTIVATIONS:
        raise OptionError(f"{option} must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    if constants is None:
        return name
    defaults = ACTIVATIONS[name]
    if defaults is None:
        able = " and ".join(known for known, own in ACTIVATIONS.items() if own)
        raise OptionError(f"{option}: {name!r} has no constants; {able} have alpha and beta")
    return name if constants == defaults else (name, *constants)


def activation_constants(activation: Activation) -> tuple[str, float, float]:
    """Name, alpha and beta; where an activation has no constants they are 1 and 0.

    Example:
        >>> activation_constants("relu"), activation_constants(("tanh", 2.0, 0.5))
        (('relu', 1.0, 0.0), ('tanh', 2.0, 0.5))
    """
    if isinstance(activation, str):
        return (activation, *(ACTIVATIONS[activation] or (1.0, 0.0)))
    return activation


def _split(option: str, value: Any) -> tuple[str, tuple[float, float]]:
    if isinstance(value, tuple | list) and len(value) == 3 and isinstance(value[0], str):  # pyright: ignore
        alpha, beta = value[1:]  # pyright: ignore
        if all(_is_finite(constant) for constant in (alpha, beta)):  # pyright: ignore
            return value[0], (float(alpha), float(beta))  # pyright: ignore
    raise OptionError(f"{option} must be a name, or a name with alpha and beta, not {value!r}")


def _is_finite(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= float_info.max
