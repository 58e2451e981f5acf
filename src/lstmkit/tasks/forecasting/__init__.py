"""Forecast series of a table with an LSTM."""

from lstmkit.tasks.forecasting.estimator import Forecaster
from lstmkit.tasks.forecasting.evaluation import Evaluation, Scores

__all__ = ["Evaluation", "Forecaster", "Scores"]
