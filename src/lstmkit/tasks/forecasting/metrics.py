"""Scores of forecasts, each by its textbook definition. Missing answers never count.

Legend: ``B`` windows, ``H`` steps of the horizon, ``Q`` quantiles. ``answer`` and ``forecast`` are ``(B, H)``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def mean_absolute_error(answer: Array, forecast: Array) -> float:
    """In the unit of the data."""
    return _mean(np.abs(answer - forecast))


def mean_squared_error(answer: Array, forecast: Array) -> float:
    """In the squared unit of the data."""
    return _mean((answer - forecast) ** 2)


def smape(answer: Array, forecast: Array) -> float:
    """Symmetric mean absolute percentage error as the M4 competition defines it, in per cent, 0 to 200.

    Source: Makridakis, Spiliotis & Assimakopoulos, International Journal of Forecasting 36(1), 2020.

    Example:
        >>> smape(np.array([[1.0]]), np.array([[3.0]]))
        100.0
    """
    size = np.abs(answer) + np.abs(forecast)
    return 200 * _mean(np.abs(answer - forecast) / np.where(size == 0, 1.0, size))


def mase(answer: Array, forecast: Array, scale: Array) -> float:
    """Mean absolute scaled error: 1 is as good as the seasonal naive forecast within the sample.

    Args:
        answer: ``(B, H)``.
        forecast: ``(B, H)``.
        scale: In-sample error of the seasonal naive forecast for each window's series, ``(B,)``; windows
            whose scale is 0 or missing do not count.

    Source: Hyndman & Koehler, International Journal of Forecasting 22(4), 2006.
    """
    usable = np.isfinite(scale) & (scale > 0)
    return _mean(np.abs(answer - forecast)[usable] / scale[usable, None])


def seasonal_scale(values: Array, season: int) -> float:
    """Mean absolute difference between values one season apart; NaN where there are none.

    Example:
        >>> seasonal_scale(np.array([1.0, 2.0, 3.0, 6.0]), 2)
        3.0
    """
    return _mean(np.abs(values[season:] - values[:-season]))


def weighted_quantile_loss(answer: Array, quantiles: Array, levels: tuple[float, ...]) -> float:
    """Mean over the levels of twice the pinball loss, divided by the mean size of the answers.

    Args:
        answer: ``(B, H)``.
        quantiles: ``(B, H, Q)``.
        levels: The quantiles' levels, ``Q`` of them.

    Source: Park et al., AISTATS 2022, appendix; the score of GluonTS.
    """
    error = answer[..., None] - quantiles
    level = np.asarray(levels)
    pinball = np.maximum(level * error, (level - 1) * error)
    size = np.nansum(np.abs(answer))
    return float(2 * np.nansum(pinball, axis=(0, 1)).mean() / size) if size else float("nan")


def coverage(answer: Array, low: Array, high: Array) -> float:
    """Part of the answers that lie within the interval, 0 to 1."""
    unknown = np.isnan(answer) | np.isnan(low) | np.isnan(high)
    return _mean(np.where(unknown, np.nan, (answer >= low) & (answer <= high)))


def _mean(values: Array) -> float:
    """Of what is there; NaN where nothing is."""
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")
