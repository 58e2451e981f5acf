"""Translation and other sequence pairs: sentences, spelling to sound, inflection."""

from lstmkit.tasks.translation.estimator import Translator
from lstmkit.tasks.translation.evaluation import Evaluation
from lstmkit.tasks.translation.levels import LEVELS, Levels
from lstmkit.tasks.translation.model import Sizes

__all__ = ["LEVELS", "Evaluation", "Levels", "Sizes", "Translator"]
