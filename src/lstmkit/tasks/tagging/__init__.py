"""Tagging: words and sentences, from CoNLL files or lists, to tags, spans and labels."""

from lstmkit.tasks.tagging.estimator import Tagger
from lstmkit.tasks.tagging.evaluation import Evaluation

__all__ = ["Evaluation", "Tagger"]
