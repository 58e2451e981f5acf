"""Batches: any nesting of tuples, named tuples, lists and dicts of tensors and arrays."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def map_arrays(batch: Any, change: Callable[[Any], Any], whole: Collection[str] = ()) -> Any:
    """The same nesting with every tensor and array changed; anything else, and names in ``whole``, as they are."""
    if isinstance(batch, Tensor | np.ndarray):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: value if name in whole else map_arrays(value, change, whole) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_arrays(value, change, whole) for value in batch))
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        return type(batch)(map_arrays(value, change, whole) for value in batch)  # pyright: ignore[reportCallIssue]
    return batch


def to_device(batch: Any, device: torch.device) -> Any:
    """Every tensor and array of the batch as a tensor on the device."""

    def move(array: Any) -> Tensor:
        if isinstance(array, Tensor):
            return array.to(device, non_blocking=True)
        return torch.as_tensor(array, device=device)

    return map_arrays(batch, move)


def take_rows(batch: Any, rows: slice, whole: Collection[str]) -> Any:
    """The rows of every tensor and array that has any, but all of those that have a name in ``whole``."""
    return map_arrays(batch, lambda array: array[rows] if array.ndim else array, whole)


def row_counts(batch: Any, whole: Collection[str]) -> set[int]:
    """The numbers of rows that occur in the batch, besides what has a name in ``whole``."""
    counts = set[int]()

    def note(array: Any) -> None:
        counts.update(array.shape[:1])

    map_arrays(batch, note, whole)
    return counts
