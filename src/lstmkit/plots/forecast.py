"""History, forecast and intervals, one panel a series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from lstmkit.spec import import_extra

Array = NDArray[Any]

_INK, _FORECAST, _ANSWER = "#333333", "#c0392b", "#8a8a8a"


@dataclass(frozen=True)
class ForecastPanel:
    """What one panel shows.

    Args:
        title: Name of the series.
        past_times: ``(T,)`` datetimes or numbers.
        past: ``(T,)`` values seen.
        times: ``(H,)`` of the forecast.
        forecast: ``(H,)``.
        intervals: Coverage in per cent -> lower and upper bound, each ``(H,)``.
        answer: ``(H,)`` what came, where it is known.
    """

    title: str
    past_times: Array
    past: Array
    times: Array
    forecast: Array
    intervals: Mapping[float, tuple[Array, Array]] = field(default_factory=dict[float, tuple[Array, Array]])
    answer: Array | None = None


def draw_forecasts(panels: Sequence[ForecastPanel]) -> Any:
    """Draw panels under each other.

    Returns:
        A matplotlib figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    import_extra("matplotlib", "plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.2 + 2.6 * len(panels)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        _draw(axes, panel)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", frameon=False, ncols=5)
    return figure


def _draw(axes: Any, panel: ForecastPanel) -> None:
    axes.plot(panel.past_times, panel.past, color=_INK, linewidth=1, label="history")
    # Wide intervals first, so that narrow ones lie on top.
    for number, coverage in enumerate(sorted(panel.intervals, reverse=True)):
        shade = {"color": _FORECAST, "alpha": min(0.15 + 0.15 * number, 0.6), "linewidth": 0}
        axes.fill_between(panel.times, *panel.intervals[coverage], label=f"{coverage:g} % interval", **shade)
    if panel.answer is not None:
        axes.plot(panel.times, panel.answer, color=_ANSWER, linewidth=1, linestyle="--", label="what came")
    axes.plot(panel.times, panel.forecast, color=_FORECAST, linewidth=1.4, label="forecast")
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.01)
    if panel.times.dtype.kind == "M":
        _name_dates(axes)


def _name_dates(axes: Any) -> None:
    """Short names of dates, which do not run into each other."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
