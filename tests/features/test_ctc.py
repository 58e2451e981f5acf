"""CTC's decoders beside the definition: all paths, written out."""

from collections import defaultdict
from itertools import groupby, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.features import ctc_beam_search, ctc_greedy
from lstmkit.spec import LSTMKitError


def draw(seed: int, steps: int, rows: int, classes: int) -> np.ndarray:
    values = 2 * np.random.default_rng(seed).normal(size=(steps, rows, classes))
    return values - np.log(np.exp(values).sum(2, keepdims=True))


def every_labelling(frames: np.ndarray, blank: int) -> dict[tuple[int, ...], float]:
    """Graves et al. (2006), equation 3: the probability of labels is the sum over the paths that mean them."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(frames.shape[1]), repeat=len(frames)):
        labels = tuple(label for label, _ in groupby(path) if label != blank)
        found[labels] += float(np.exp(sum(frame[label] for frame, label in zip(frames, path, strict=True))))
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4), st.data())
def test_wide_beam__matches_all_paths(seed: int, steps: int, classes: int, data: st.DataObject) -> None:
    blank = data.draw(st.integers(0, classes - 1))
    lengths = data.draw(st.lists(st.integers(1, steps), min_size=2, max_size=2))
    log_probs = draw(seed, steps, 2, classes)
    for row, length in enumerate(lengths):
        log_probs[length:, row] = np.nan
    found = ctc_beam_search(log_probs, lengths, blank=blank, beam_width=5000, top_paths=5000)
    for row, length in enumerate(lengths):
        expected = every_labelling(log_probs[:length, row], blank)
        scores = [score for _, score in found[row]]
        assert scores == sorted(scores, reverse=True)
        assert {labels for labels, _ in found[row]} == set(expected)
        np.testing.assert_allclose(np.exp(scores), [expected[labels] for labels, _ in found[row]], rtol=1e-9)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_narrow_beam__never_exceeds_all_paths(width: int) -> None:
    """What was given up is missing from a score and can only make it smaller."""
    for seed in range(20):
        log_probs = draw(seed, 6, 1, 4)
        expected = every_labelling(log_probs[:, 0], 0)
        for labels, score in ctc_beam_search(log_probs, beam_width=width, top_paths=width)[0]:
            assert np.exp(score) <= expected[labels] * (1 + 1e-9)


@pytest.mark.parametrize("blank", [0, 2])
def test_greedy__matches_best_path(blank: int) -> None:
    log_probs, lengths = draw(3, 9, 3, 3), [9, 1, 4]
    for row, length in enumerate(lengths):
        log_probs[length:, row] = np.nan
    for row, found in enumerate(ctc_greedy(log_probs, lengths, blank=blank)):
        path = [max(range(3), key=lambda label: frame[label]) for frame in log_probs[: lengths[row], row]]
        assert found.labels == tuple(label for label, _ in groupby(path) if label != blank)
        assert found.score == pytest.approx(sum(max(frame) for frame in log_probs[: lengths[row], row]))


def test_impossible_label__is_never_found() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[[0.5, 0.5, 0.0]], [[0.2, 0.8, 0.0]]]))
    found = ctc_beam_search(log_probs, top_paths=50, beam_width=50)[0]
    assert {labels for labels, _ in found} == {(), (1,)}
    assert sum(np.exp(score) for _, score in found) == pytest.approx(1.0)


@pytest.mark.parametrize("decode", [ctc_greedy, ctc_beam_search])
@pytest.mark.parametrize(
    ("log_probs", "options", "said"),
    [
        (np.zeros((3, 4)), {}, r"expected log_probs of floats of shape \(T, B, C\), got float64 \(3, 4\)"),
        (np.zeros((3, 2, 4), int), {}, "got int64"),
        (np.zeros((0, 2, 4)), {}, r"got float64 \(0, 2, 4\)"),
        (np.zeros((3, 2, 4)), {"blank": 4}, "blank must be one of the classes 0..3, not 4"),
        (np.zeros((3, 2, 4)), {"lengths": [3]}, r"lengths must be 2 whole numbers in 1..3, not \[3\]"),
        (np.zeros((3, 2, 4)), {"lengths": [3, 0]}, r"in 1..3, not \[3, 0\]"),
        (np.zeros((3, 2, 4)), {"lengths": [4, 1]}, r"in 1..3, not \[4, 1\]"),
        (np.zeros((3, 2, 4)), {"lengths": [1.0, 2.0]}, "whole numbers"),
        (np.full((3, 2, 4), np.nan), {}, "row 0 of log_probs has NaN or infinity within its 3 steps"),
        (np.full((3, 2, 4), np.inf), {}, "NaN or infinity"),
    ],
)
def test_decoder__rejects_what_cannot_be(decode: Any, log_probs: np.ndarray, options: Any, said: str) -> None:
    with pytest.raises(LSTMKitError, match=said):
        decode(log_probs, **options)


@pytest.mark.parametrize("options", [{"top_paths": 0}, {"top_paths": 3, "beam_width": 2}])
def test_beam_search__rejects_more_paths_than_beams(options: Any) -> None:
    with pytest.raises(LSTMKitError, match="top_paths must be in 1..beam_width"):
        ctc_beam_search(np.zeros((3, 1, 4)), **options)
