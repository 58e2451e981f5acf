"""How readily a tagger leaves words outside of every span, chosen on sentences that it was not trained on.

Likelihood counts words, of which nearly all are outside; F1 counts spans. Where spans are rare, a tagger that is
trained by the one finds too few of them for the other.
"""

from collections.abc import Sequence

import numpy as np

from lstmkit.data import Sentence
from lstmkit.features import OUTSIDE, are_span_tags
from lstmkit.runtime import TagModel
from lstmkit.runtime.model import flatten_weights
from lstmkit.tasks.tagging.evaluation import evaluate_sentences

# Nats that the score of "outside" is lowered by.
_LESS = np.linspace(0.25, 3, 12)
_BIAS = "scores.bias"


def balance(model: TagModel, judged: Sequence[Sentence]) -> TagModel:
    """The model with the score of the tag ``O`` lowered so far that F1 on ``judged`` is highest; else as it was."""
    outside = model.config.tags.find(OUTSIDE)
    if outside is None or not judged or not are_span_tags(model.config.tags.names):
        return model

    def lowered(less: float) -> TagModel:
        weights = flatten_weights(model.weights)
        bias = weights[_BIAS].copy()
        bias[outside] -= less
        return TagModel(model.document, {**weights, _BIAS: bias})

    def loss(one: TagModel) -> float:
        return evaluate_sentences(one, judged).loss

    return min((model, *map(lowered, _LESS)), key=loss)
