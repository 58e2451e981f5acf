"""Which words decided: against finite differences, and what is shown of it."""

import numpy as np
import pytest

from lstmkit.runtime import run_stages
from lstmkit.runtime.classify import softmax
from lstmkit.spec import OptionError
from lstmkit.tasks.classification import Classifier, Explanation


def log_odds(classifier: Classifier, scores: np.ndarray, label: str) -> np.ndarray:
    own = softmax(scores)[:, classifier.labels.index(label)]
    return np.log(own / (1 - own))


def test_words__match_finite_differences(classifier: Classifier) -> None:
    """Scaling what a token brings into the model by 1 + e moves the log odds by e times its weight."""
    text = "this not cold, unknown meal"
    found = classifier.explain([text], "pro")[0]
    model = classifier.model
    arrays = model.reader.arrays(model.reader.rows([text]))
    lookups = [s for s in model.stages if s.kind in ("embedding", "gather") or s.inputs == ("grams",)]
    plain = model.run(arrays)
    for place in range(len(found.parts)):
        moved = []
        for step in (1e-2, -1e-2):
            changed = {stage.name: plain[stage.name].astype(np.float64).copy() for stage in lookups}
            for values in changed.values():
                values[0, place] *= 1 + step
            stages = [stage for stage in model.stages if stage not in lookups]
            moved.append(run_stages(np, stages, model.weights, {**arrays, **changed})[model.answer])
        slope = (log_odds(classifier, moved[0], "pro") - log_odds(classifier, moved[1], "pro"))[0] / 2e-2
        assert found.weights[place] == pytest.approx(slope, rel=2e-2, abs=2e-3)


def test_words__never_lost(classifier: Classifier) -> None:
    text = "Our DULL, <b>café</b> day"
    found = classifier.explain([text])[0]
    assert found.parts[:3] == ["Our", "DULL", ","]
    assert [text[a:b] for a, b in found.offsets or ()] == found.parts
    assert found.label == classifier.predict([text])[0]
    assert found.probability == pytest.approx(classifier.probabilities([text]).max(), abs=1e-5)
    assert "&lt;" in found.html()
    assert "<b>café" not in found.html()


def test_explanation__learns_that_the_word_decides(classifier: Classifier) -> None:
    found = classifier.explain(["the our cruel walk"], "contra")[0]
    assert found.parts[int(found.weights.argmax())] == "cruel"


def test_series__weights_of_steps(series_classifier: Classifier) -> None:
    found = series_classifier.explain([np.ones((5, 2)), np.zeros((3, 2))], "fast")
    assert [len(one.weights) for one in found] == [5, 3]
    assert found[0].parts[0] == "step 1"


def test_text__shows_the_strongest_first() -> None:
    weights = np.array([0.1, -2.0, 1.0])
    lines = str(Explanation("x", 0.75, ["a", "bc", "d"], weights)).splitlines()
    assert lines[0] == "x  75.0%"
    assert [line.split()[0] for line in lines[1:]] == ["bc", "d", "a"]
    assert lines[1].count("█") == 12
    assert lines[2].count("█") == 6


def test_explain__rejects_unknown_label(classifier: Classifier) -> None:
    with pytest.raises(OptionError, match="'maybe' is not known; known: "):
        classifier.explain(["a"], "maybe")


def test_empty_text__is_explained(classifier: Classifier) -> None:
    assert len(classifier.explain([""])[0].weights) == 1
