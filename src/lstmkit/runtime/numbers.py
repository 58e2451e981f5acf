"""Numbers from outside, as the runtime computes with them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.spec import DataError


def as_float32(x: ArrayLike, *, copy: bool = False) -> NDArray[np.float32]:
    """A contiguous float32 array, a new one if asked for or needed.

    Raises:
        DataError: these are not numbers.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise DataError(f"expected numbers, got values of the type {array.dtype}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, order="C", copy=copy, subok=False)


def check_finite(single: NDArray[np.float32], x: ArrayLike | None = None) -> None:
    """Refuse numbers that are not finite.

    Args:
        single: The numbers.
        x: What they were made of, for the message.

    Raises:
        DataError: the message says where.
    """
    if not np.isfinite(single).all():
        place = tuple(np.argwhere(~np.isfinite(single))[0].tolist())
        value = np.asarray(single if x is None else x)[place]
        raise DataError(f"the value at {place} is {value}; fill missing steps, or leave them out")


def finite_float32(x: ArrayLike) -> NDArray[np.float32]:
    """Finite numbers in a contiguous float32 array.

    Raises:
        DataError: something else.
    """
    single = as_float32(x)
    check_finite(single, x)
    return single
