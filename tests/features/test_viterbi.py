"""The search beside all paths, written out."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.features import viterbi
from lstmkit.spec import LSTMKitError


def draw(seed: int, rows: int, steps: int, tags: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [3 * random.normal(size=shape) for shape in ((rows, steps, tags), (tags, tags), (tags,), (tags,))]


def score(path, scores, transitions, first, last) -> float:
    own = sum(scores[step, tag] for step, tag in enumerate(path))
    return own + sum(transitions[a, b] for a, b in pairwise(path)) + first[path[0]] + last[path[-1]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4), st.data())
def test_best_path__equals_all_paths(seed: int, steps: int, tags: int, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, steps), min_size=3, max_size=3))
    scores, *weights = draw(seed, 3, steps, tags)
    for row, length in enumerate(lengths):
        scores[row, length:] = np.nan
    paths, best = viterbi(scores, *weights, lengths)
    for row, length in enumerate(lengths):
        every = {path: score(path, scores[row], *weights) for path in product(range(tags), repeat=length)}
        assert tuple(paths[row]) == max(every, key=every.__getitem__)
        np.testing.assert_allclose(best[row], max(every.values()), rtol=1e-12)


def test_best_path__never_forbidden() -> None:
    scores, transitions, first, last = draw(1, 40, 9, 4)
    forbidden = [(0, 1), (2, 2), (3, 0), (1, 3)]
    for a, b in forbidden:
        transitions[a, b] = -np.inf
    first[2], last[0] = -np.inf, -np.inf
    paths, best = viterbi(scores, transitions, first, last)
    assert np.isfinite(best).all()
    for path in paths:
        assert path[0] != 2
        assert path[-1] != 0
        assert not set(zip(path[:-1].tolist(), path[1:].tolist(), strict=True)) & set(forbidden)


@pytest.mark.parametrize(
    ("shapes", "lengths", "message"),
    [
        (((2, 3), (3, 3), (3,), (3,)), None, "scores of shape"),
        (((2, 0, 3), (3, 3), (3,), (3,)), None, "scores of shape"),
        (((2, 4, 3), (3, 2), (3,), (3,)), None, "transitions \\(3, 3\\)"),
        (((2, 4, 3), (3, 3), (2,), (3,)), None, "first and last"),
        (((2, 4, 3), (3, 3), (3,), (3,)), [4, 5], "in 1..4"),
        (((2, 4, 3), (3, 3), (3,), (3,)), [4, 0], "in 1..4"),
        (((2, 4, 3), (3, 3), (3,), (3,)), [4], "2 whole numbers"),
        (((2, 4, 3), (3, 3), (3,), (3,)), [4.0, 2.0], "whole numbers"),
    ],
)
def test_viterbi__rejects(shapes, lengths, message: str) -> None:
    with pytest.raises(LSTMKitError, match=message):
        viterbi(*map(np.zeros, shapes), lengths)
