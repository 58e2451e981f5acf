"""What was taken for what, as a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import import_extra

Array = NDArray[Any]

# Counts are written into the fields of matrices up to this size.
_MOST_WRITTEN = 20


def draw_confusion(counts: Array, labels: Sequence[str]) -> Any:
    """Draw a confusion matrix; a field is the darker, the larger its part of the row is.

    Args:
        counts: ``(K, K)``: rows are what is true, columns what was found.
        labels: Names of the ``K`` labels.

    Returns:
        A matplotlib figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    import_extra("matplotlib", "plot")
    from matplotlib.figure import Figure

    size = len(labels)
    names = [name if len(name) <= 20 else name[:19] + "…" for name in labels]
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(4.0, 0.55 * size + 1.5), 16.0)
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(size), names, rotation=45 if size > 3 else 0, ha="right" if size > 3 else "center")
    axes.set_yticks(range(size), names)
    axes.set_xlabel("found")
    axes.set_ylabel("true")
    axes.tick_params(labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    if size <= _MOST_WRITTEN:
        _write_counts(axes, counts, parts)
    figure.colorbar(image, ax=axes, shrink=0.7, label="part of the true label")
    return figure


def _write_counts(axes: Any, counts: Array, parts: Array) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if parts[row, column] > 0.5 else "#333333"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
