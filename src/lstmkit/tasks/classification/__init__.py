"""Labels for texts and for series: train, predict, explain and evaluate."""

from lstmkit.tasks.classification.estimator import Classifier
from lstmkit.tasks.classification.evaluation import Evaluation
from lstmkit.tasks.classification.explanation import Explanation

__all__ = ["Classifier", "Evaluation", "Explanation"]
