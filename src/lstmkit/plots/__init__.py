"""Floor 3: arrays in, matplotlib figures out. No figure touches a window system or global state."""

from lstmkit.plots.confusion import draw_confusion
from lstmkit.plots.figure import save_figure
from lstmkit.plots.forecast import ForecastPanel, draw_forecasts

__all__ = ["ForecastPanel", "draw_confusion", "draw_forecasts", "save_figure"]
