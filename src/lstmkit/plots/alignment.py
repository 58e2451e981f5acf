"""Which words of the source were read for which words of the answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lstmkit.spec import import_extra

Array = NDArray[Any]

_CELL, _LABELS = 0.32, 1.2
_COLUMNS = 3


@dataclass(frozen=True)
class AlignmentPanel:
    """One heat map.

    Args:
        source: Tokens read, ``S``.
        target: Tokens written, ``T``.
        weights: ``(T, S)``, from 0 to 1.
    """

    source: Sequence[str]
    target: Sequence[str]
    weights: Array


def draw_alignments(panels: Sequence[AlignmentPanel]) -> Any:
    """Draw heat maps beside and under each other.

    Returns:
        A matplotlib figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    import_extra("matplotlib", "plot")
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(panels))
    widths = [_size(panel.source for panel in panels[first::columns]) for first in range(columns)]
    heights = [
        _size(panel.target for panel in panels[first : first + columns]) for first in range(0, len(panels), columns)
    ]
    figure = Figure(figsize=(sum(widths), sum(heights)), layout="constrained")
    ratios = {"width_ratios": widths, "height_ratios": heights}
    grid = figure.subplots(len(heights), columns, squeeze=False, gridspec_kw=ratios).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure


def _size(tokens: Iterable[Sequence[str]]) -> float:
    """Inches for so many cells and the tokens beside them."""
    return _LABELS + _CELL * max(map(len, tokens))


def _draw(axes: Any, panel: AlignmentPanel) -> None:
    axes.imshow(panel.weights, cmap="Greys", vmin=0, vmax=1, aspect="equal")
    axes.set_anchor("NW")
    axes.set_xticks(range(len(panel.source)), panel.source, rotation=60, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(panel.target)), panel.target)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_color("#bbbbbb")
