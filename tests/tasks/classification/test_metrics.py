"""Scores against their definitions, counted one by one."""

import math

import numpy as np
import pytest

from lstmkit.features import Vocabulary
from lstmkit.tasks.classification import metrics
from lstmkit.tasks.classification.calibration import fit_scales
from lstmkit.tasks.classification.evaluation import evaluate

LABELS = Vocabulary(["a", "b", "c", "never"])


@pytest.fixture
def judged() -> tuple[list[str], np.ndarray]:
    random = np.random.default_rng(1)
    scores = random.normal(0, 2, (97, 4))
    scores[:, 3] = -50
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return random.choice(["a", "b", "c", "new"], 97).tolist(), probabilities


def test_evaluation__matches_counting(judged: tuple[list[str], np.ndarray]) -> None:
    truth, probabilities = judged
    found = [LABELS.names[k] for k in probabilities.argmax(1)]
    report = evaluate(truth, probabilities, LABELS).to_dict()
    assert report["examples"] == 97
    assert report["unseen_labels"] == {"new": truth.count("new")}
    pairs = list(zip(truth, found, strict=True))
    assert report["accuracy"] == pytest.approx(sum(t == f for t, f in pairs) / 97)
    scores = []
    for name in ("a", "b", "c", "new"):
        hits = sum(t == f == name for t, f in pairs)
        precision = hits / found.count(name) if name in found else 0
        recall = hits / truth.count(name)
        f1 = 2 * precision * recall / (precision + recall) if hits else 0
        assert report["classes"][name] == pytest.approx(
            {"precision": precision, "recall": recall, "f1": f1, "support": truth.count(name)}
        )
        scores.append(f1)
    assert report["macro_f1"] == pytest.approx(sum(scores) / 4)
    own = [p[LABELS.names.index(t)] if t in LABELS.names else 1e-6 for t, p in zip(truth, probabilities, strict=True)]
    assert report["log_loss"] == pytest.approx(-sum(map(math.log, own)) / 97)


def test_calibration_error__matches_bins_one_by_one(judged: tuple[list[str], np.ndarray]) -> None:
    truth = np.array([LABELS.find(name) if LABELS.find(name) is not None else 4 for name in judged[0]])
    probabilities = judged[1]
    expected = 0.0
    for low in range(15):
        inside = [
            k for k, p in enumerate(probabilities.max(1)) if low / 15 <= p < (low + 1) / 15 or (low == 14 and p == 1)
        ]
        if inside:
            right = np.mean([probabilities[k].argmax() == truth[k] for k in inside])
            sure = np.mean([probabilities[k].max() for k in inside])
            expected += len(inside) / len(truth) * abs(right - sure)
    assert metrics.expected_calibration_error(truth, probabilities) == pytest.approx(expected)


def test_report__equals_what_it_was_given(judged: tuple[list[str], np.ndarray]) -> None:
    text = str(evaluate(*judged, LABELS))
    assert f"never seen in training, each an error: 'new' ({judged[0].count('new')})" in text
    assert "precision  recall     F1  support" in text
    assert "true \\ found" in text


def test_scales__matches_search_over_a_grid() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 3, 300)
    told = np.eye(3)[labels]
    opinions = np.stack([4 * told + random.normal(0, 3, told.shape), told + random.normal(0, 2, told.shape)])

    def loss(scales: tuple[float, float]) -> float:
        scores = scales[0] * opinions[0] + scales[1] * opinions[1]
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        return -logs[np.arange(300), labels].mean()

    found = fit_scales(opinions, labels)
    grid = [(a, b) for a in np.arange(0, 1.5, 0.02) for b in np.arange(0, 1.5, 0.02)]
    best = min(grid, key=loss)
    np.testing.assert_allclose(found, best, atol=0.03)
    assert loss(tuple(found)) <= loss(best) + 1e-4


def test_scales__never_below_zero__an_opinion_that_is_always_wrong() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, 200)
    told = np.eye(3)[labels]
    right, wrong = told + random.normal(0, 1, told.shape), random.normal(0, 1, told.shape) - told
    found = fit_scales(np.stack([right, wrong]), labels)
    assert found[0] > 0
    assert found[1] == 0


def test_scales__never_endless__every_example_is_right() -> None:
    labels = np.arange(40) % 2
    found = fit_scales(np.eye(2)[labels][None], labels)
    assert np.isfinite(found).all()
    assert 1 < found[0] < 100
