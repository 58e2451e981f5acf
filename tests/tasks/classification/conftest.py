"""Small classifiers that the tests share; each is trained once."""

import numpy as np
import pytest

from lstmkit.tasks.classification import Classifier

TINY = {
    "embedding_size": 12,
    "hidden_size": 13,
    "dropout": 0.1,
    "input_dropout": 0.1,
    "learning_rate": 1e-2,
    "members": 2,
    "quiet": True,
    "device": "cpu",
}

FIRST = ["the", "a", "this", "one", "our", "some"]
GOOD = ["warm", "bright", "kind", "sweet"]
BAD = ["cold", "dull", "cruel", "sour"]
LAST = ["day", "film", "meal", "song", "walk"]


def draw_texts(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Sentences whose label is said by one word, unless the word before it is ``not``."""
    random = np.random.default_rng(seed)
    texts, labels = list[str](), list[str]()
    for _ in range(count):
        good, turned = random.random() < 0.5, random.random() < 0.3
        words = [*random.choice(FIRST, random.integers(1, 6)), *(["not"] if turned else [])]
        words += [random.choice(GOOD if good else BAD), *random.choice(LAST, random.integers(0, 4))]
        texts.append(" ".join(words))
        labels.append("pro" if good != turned else "contra")
    return texts, labels


def draw_series(count: int, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Waves of uneven length in two channels of other units; slow ones and fast ones, some values missing."""
    random = np.random.default_rng(seed)
    series, labels = list[np.ndarray](), list[str]()
    for _ in range(count):
        fast = random.random() < 0.5
        steps = np.arange(random.integers(12, 30))
        wave = np.sin(steps * (1.3 if fast else 0.4) + random.uniform(0, 6))
        noise = random.normal(0, 0.2, (len(steps), 2))
        values = np.stack([wave, 500 + 30 * wave], 1) + noise
        values[random.integers(len(steps)), 0] = np.nan
        series.append(values)
        labels.append("fast" if fast else "slow")
    return series, labels


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """Knows what ``not`` does."""
    return Classifier(max_epochs=12, batch_size=32, **TINY).fit(*draw_texts(400))


@pytest.fixture(scope="session")
def series_classifier() -> Classifier:
    return Classifier(max_epochs=4, batch_size=16, **TINY).fit(*draw_series(60))
