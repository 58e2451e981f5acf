"""The score of ``O``, chosen on sentences that nothing was learned from."""

import pytest
from helpers.tagged import draw_sentences

from lstmkit.data import Sentence
from lstmkit.runtime import TagModel
from lstmkit.runtime.model import flatten_weights
from lstmkit.tasks.tagging import Tagger
from lstmkit.tasks.tagging.balance import balance
from lstmkit.tasks.tagging.evaluation import evaluate_sentences


def sentences(count: int) -> list[Sentence]:
    return [Sentence(*one) for one in draw_sentences(count, seed=7)]


def shifted(model: TagModel, more: float) -> TagModel:
    weights = flatten_weights(model.weights)
    bias = weights["scores.bias"].copy()
    bias[model.config.tags.find("O")] += more
    return TagModel(model.document, {**weights, "scores.bias": bias})


@pytest.mark.parametrize("timid", [1.0, 2.5])
def test_balance__equals_the_best_of_all(tagger: Tagger, timid: float) -> None:
    judged, model = sentences(30), shifted(tagger.model, timid)
    found = evaluate_sentences(balance(model, judged), judged).loss
    assert found == min(evaluate_sentences(shifted(model, -step / 4), judged).loss for step in range(13))


def test_balance__learns_from_a_timid_model(tagger: Tagger) -> None:
    judged = sentences(30)

    def loss(model: TagModel) -> float:
        return evaluate_sentences(model, judged).loss

    timid = next(model for more in range(1, 20) if loss(model := shifted(tagger.model, more)) > loss(tagger.model))
    assert loss(balance(timid, judged)) < loss(timid)


def test_balance__preserves_what_it_cannot_judge(tagger: Tagger) -> None:
    assert balance(tagger.model, []) is tagger.model
    parts = Tagger(max_epochs=1, quiet=True).fit([(["a", "dog"], ["DET", "NOUN"])] * 20)
    assert balance(parts.model, sentences(3)) is parts.model
