"""Floor 3: arrays in, matplotlib figures out. No figure touches a window system or global state."""

from lstmkit.plots.alignment import AlignmentPanel, draw_alignments
from lstmkit.plots.confusion import draw_confusion
from lstmkit.plots.figure import save_figure
from lstmkit.plots.forecast import ForecastPanel, draw_forecasts

__all__ = [
    "AlignmentPanel",
    "ForecastPanel",
    "draw_alignments",
    "draw_confusion",
    "draw_forecasts",
    "save_figure",
]
