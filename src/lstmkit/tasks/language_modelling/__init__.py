"""Language modelling: text in; text, and how likely a text is, out."""

from lstmkit.tasks.language_modelling.estimator import LanguageModel
from lstmkit.tasks.language_modelling.evaluation import LanguageEvaluation
from lstmkit.tasks.language_modelling.recipes import RECIPES, Recipe

__all__ = ["RECIPES", "LanguageEvaluation", "LanguageModel", "Recipe"]
