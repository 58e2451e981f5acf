"""Rooms of text learn the same from a file as from lists, and a larger file takes no more memory."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.larger_than_memory import draw_words, train, write_file
from lstmkit import Classifier, Tagger, Translator
from lstmkit.data import read_pairs
from lstmkit.tasks.estimator import Estimator

TINY: dict[str, Any] = {"hidden_size": 5, "quiet": True, "device": "cpu"}
# Few enough that a small file has them all, side by side too.
WORDS = draw_words(60)


def from_table(path: Path) -> list[list[str]]:
    """The columns of a table, read by Python alone."""
    return [*map(list, zip(*(line.split("\t") for line in path.read_text().splitlines()), strict=True))]


def classify(path: Path, whole: bool) -> Estimator:
    learner = Classifier(embedding_size=4, members=2, max_epochs=1, batch_size=16, **TINY)
    (_, *texts), (_, *labels) = from_table(path)
    return learner.fit(texts, labels) if whole else learner.fit(path)


def tag(path: Path, whole: bool) -> Estimator:
    blocks = path.read_text().strip().split("\n\n")
    sentences = [tuple(zip(*(line.split() for line in block.split("\n")), strict=True)) for block in blocks]
    return Tagger(word_size=4, max_epochs=1, **TINY).fit(sentences if whole else path)


def translate(path: Path, whole: bool) -> Estimator:
    learner = Translator(level="word", embedding_size=4, max_steps=12, batch_size=16, **TINY)
    sides = from_table(path) if whole else read_pairs(path)[:2]
    return learner.fit(*sides)


@pytest.mark.parametrize("fit", [classify, tag, translate])
def test_file__equals_the_list(fit: Callable[[Path, bool], Estimator], tmp_path) -> None:
    path = write_file(fit.__name__, 8000, tmp_path, WORDS)
    one, other = fit(path, True), fit(path, False)
    assert one.scores == other.scores != {}
    for stage, weights in one.model.weights.items():
        for name, array in weights.items():
            np.testing.assert_array_equal(array, other.model.weights[stage][name], err_msg=f"{stage}.{name}")


@pytest.mark.parametrize("room", ["classify", "tag", "translate"])
def test_memory__never_grows_with_the_file(room: str, tmp_path) -> None:
    """A line of a hundred letters takes some numbers in memory; as text and tokens it would be thousands of bytes."""
    peaks = list[int]()
    # The first file is small, and what is loaded and remembered once does not count.
    for size in (10_000, 400_000, 900_000):
        path = write_file(room, size, tmp_path, WORDS)
        tracemalloc.start()
        train(room, path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    print(room, peaks)
    assert peaks[2] - peaks[1] < 1.5e6
