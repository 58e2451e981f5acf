"""Products of a matrix with many rows, one text for NumPy and torch."""

from typing import Any

Array = Any


def times(x: Array, matrix: Array) -> Array:
    """``x (..., F)`` and a matrix ``(U, F)`` -> ``(..., U)``, in one product, which NumPy cuts into many otherwise."""
    return (x.reshape(-1, x.shape[-1]) @ matrix.T).reshape(*x.shape[:-1], len(matrix))
