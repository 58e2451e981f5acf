"""Drawing by scores: the softmax counted out, cuts against sets found by hand."""

import numpy as np
import pytest

from lstmkit.features import Sampler
from lstmkit.spec import OptionError

SCORES = np.array([1.0, -2.0, 3.0, 2.5, -np.inf, 0.0], np.float32)


def softmax(scores, temperature=1.0):
    shares = np.exp(scores.astype(float) / temperature)
    return shares / shares.sum()


def draws(count=4000, **options):
    sampler = Sampler(seed=3, **options)
    return np.bincount([sampler.draw(SCORES.copy()) for _ in range(count)], minlength=len(SCORES)) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws__match_softmax(temperature):
    expected = softmax(SCORES, temperature)
    # Four standard deviations of a mean of 4,000.
    spread = 4 * np.sqrt(expected * (1 - expected) / 4000)
    assert (np.abs(draws(temperature=temperature) - expected) <= spread).all()


def test_draws__match_the_highest__at_temperature_0():
    assert draws(50, temperature=0).tolist() == [0, 0, 1, 0, 0, 0]
    assert draws(50, top_k=1).tolist() == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(("top_k", "kept"), [(2, {2, 3}), (3, {0, 2, 3}), (99, {0, 1, 2, 3, 5})])
def test_top_k__matches_the_highest(top_k, kept):
    found = draws(top_k=top_k)
    assert set(np.flatnonzero(found)) == kept
    rest = np.where(np.isin(np.arange(6), list(kept)), softmax(SCORES), 0)
    np.testing.assert_allclose(found, rest / rest.sum(), atol=0.035)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.6, 0.9, 0.95, 0.999, 1.0])
def test_top_p__matches_the_smallest_set(top_p):
    shares = softmax(SCORES)
    kept: set[int] = set()
    for number in np.argsort(-shares):
        if sum(shares[list(kept)]) >= top_p:
            break
        if shares[number] > 0:
            kept.add(int(number))
    assert set(np.flatnonzero(draws(6000, top_p=top_p))) == kept


def test_draw__never_gives_what_is_forbidden():
    assert draws()[4] == 0
    tiny = np.full(1000, -50, np.float32)
    tiny[7], tiny[900:] = 0, -np.inf
    sampler = Sampler(seed=0, temperature=30.0)
    assert all(sampler.draw(tiny) < 900 for _ in range(2000))


def test_seed__repeats():
    one, two, other = ([Sampler(seed=seed).draw(SCORES) for _ in range(1)] for seed in (5, 5, 6))
    assert one == two
    first, second = Sampler(seed=5), Sampler(seed=5)
    assert [first.draw(SCORES) for _ in range(600)] == [second.draw(SCORES) for _ in range(600)]
    assert len(other) == 1


def test_draw__never_changes_scores():
    scores = SCORES.copy()
    Sampler(seed=0, top_k=2, top_p=0.5).draw(scores)
    np.testing.assert_array_equal(scores, SCORES)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": True},
        {"temperature": "hot"},
        {"top_k": 0},
        {"top_k": 1.5},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_p": None, "seed": -1},
    ],
)
def test_sampler__rejects(options):
    name = list(options)[-1]
    with pytest.raises(OptionError, match=f"{name} must be"):
        Sampler(**options)
