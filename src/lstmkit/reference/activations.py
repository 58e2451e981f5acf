"""The formulas of :data:`lstmkit.spec.ACTIVATIONS`."""

from collections.abc import Callable

from lstmkit.reference.arrays import Array, Namespace, sigmoid
from lstmkit.spec import Activation, activation_constants


def _tanh(xp: Namespace, z: Array, alpha: float, beta: float) -> Array:
    return xp.tanh(z) if (alpha, beta) == (1.0, 1.0) else alpha * xp.tanh(beta * z)


_FORMULAS: dict[str, Callable[[Namespace, Array, float, float], Array]] = {
    "sigmoid": lambda xp, z, alpha, beta: sigmoid(xp, z),
    "tanh": _tanh,
    "hard_sigmoid": lambda xp, z, alpha, beta: xp.clip(alpha * z + beta, 0.0, 1.0),
    "relu": lambda xp, z, alpha, beta: xp.clip(z, 0.0, None),
    "softsign": lambda xp, z, alpha, beta: z / (1.0 + xp.abs(z)),
    "identity": lambda xp, z, alpha, beta: z,
}


def clip(xp: Namespace, z: Array, bound: float | None) -> Array:
    """Within ±bound; None is no bound."""
    return z if bound is None else xp.clip(z, -bound, bound)


def activate(xp: Namespace, activation: Activation, z: Array) -> Array:
    """Apply an activation, element by element.

    Example:
        >>> import numpy as np
        >>> activate(np, ("hard_sigmoid", 0.2, 0.5), np.array([-3.0, 1.0])).tolist()
        [0.0, 0.7]
    """
    name, alpha, beta = activation_constants(activation)
    return _FORMULAS[name](xp, z, alpha, beta)
