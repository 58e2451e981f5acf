"""The CRF beside all paths, written out, and its gradient beside finite differences."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from lstmkit.nn import CRF, crf_log_partition, crf_loss
from lstmkit.nn.crf import FORBIDDEN
from lstmkit.spec import LSTMKitError

LENGTHS = [4, 1, 3]


def draw(seed: int = 0, tags: int = 3, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = (len(LENGTHS), max(LENGTHS), tags), (tags, tags), (tags,), (tags,)
    return [torch.randn(shape, generator=random, dtype=dtype) for shape in shapes]


def with_garbage(scores: torch.Tensor) -> torch.Tensor:
    garbage = scores.clone()
    for row, length in enumerate(LENGTHS):
        garbage[row, length:] = float("nan")
    return garbage


def every_path(row: int, scores, transitions, first, last) -> dict[tuple[int, ...], float]:
    """The definition: a path scores what its tags and its transitions score."""
    found = {}
    for path in product(range(scores.shape[2]), repeat=LENGTHS[row]):
        moves = sum(float(transitions[a, b]) for a, b in pairwise(path))
        own = sum(float(scores[row, step, tag]) for step, tag in enumerate(path))
        found[path] = own + moves + float(first[path[0]]) + float(last[path[-1]])
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_log_partition__equals_all_paths(dtype: torch.dtype, tolerance: float) -> None:
    scores, *weights = draw(dtype=dtype)
    found = crf_log_partition(with_garbage(scores), *weights, torch.tensor(LENGTHS))
    for row in range(len(LENGTHS)):
        expected = np.logaddexp.reduce([*every_path(row, scores, *weights).values()])
        np.testing.assert_allclose(found[row], expected, rtol=tolerance)


def test_loss__equals_all_paths() -> None:
    scores, *weights = draw(1)
    tags = torch.tensor([[2, 0, 1, 1], [1, -7, -7, -7], [0, 0, 2, 99]])
    found = crf_loss(with_garbage(scores), tags, *weights, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        paths = every_path(row, scores, *weights)
        right = paths[tuple(tags[row, :length].tolist())]
        np.testing.assert_allclose(found[row], np.logaddexp.reduce([*paths.values()]) - right, rtol=1e-12)


def test_loss__matches_finite_differences() -> None:
    tags = torch.tensor([[2, 0, 1, 1], [1, 0, 0, 0], [0, 0, 2, 0]])
    inputs = [value.requires_grad_() for value in draw(2)]
    weight = torch.tensor([0.3, -2.0, 1.7], dtype=torch.float64)

    def weighted(scores, transitions, first, last):
        return crf_loss(scores, tags, transitions, first, last, torch.tensor(LENGTHS)) * weight

    assert torch.autograd.gradcheck(weighted, inputs)


@pytest.mark.parametrize("spread", [1.0, 500.0])
def test_gradient__equals_probabilities_of_all_paths(spread: float) -> None:
    """Also where one path outweighs another by more than numbers can hold."""
    scores, *weights = [spread * value for value in draw(3)]
    scores.requires_grad_()
    crf_log_partition(scores, *weights, torch.tensor(LENGTHS)).sum().backward()
    assert scores.grad is not None
    for row, length in enumerate(LENGTHS):
        expected = np.zeros((max(LENGTHS), 3))
        paths = every_path(row, scores.detach(), *weights)
        total = np.logaddexp.reduce([*paths.values()])
        for path, score in paths.items():
            expected[range(length), path] += np.exp(score - total)
        np.testing.assert_allclose(scores.grad[row], expected, atol=1e-12)


def test_log_partition__equals_all_paths__where_none_is_allowed() -> None:
    scores, _, first, last = draw(5)
    transitions = torch.full((3, 3), FORBIDDEN)
    found = crf_log_partition(with_garbage(scores), transitions, first, last, torch.tensor(LENGTHS))
    for row in range(len(LENGTHS)):
        expected = np.logaddexp.reduce([*every_path(row, scores, transitions, first, last).values()])
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)


def test_gradient__matches_rows_without_padding__after_a_tag_that_nothing_follows() -> None:
    scores, transitions, first, last = draw(6)
    transitions[1] = FORBIDDEN
    scores[1, 0, 1] = 800.0
    together = [value.clone().requires_grad_() for value in (scores, transitions, first, last)]
    crf_log_partition(*together, torch.tensor(LENGTHS)).sum().backward()
    alone = [value.clone().requires_grad_() for value in (scores, transitions, first, last)]
    for row, length in enumerate(LENGTHS):
        crf_log_partition(alone[0][row : row + 1, :length], *alone[1:]).sum().backward()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)


def test_float32__matches_float64__over_long_rows() -> None:
    torch.manual_seed(0)
    scores, transitions, first, last = (3 * torch.randn(s) for s in ((2, 400, 9), (9, 9), (9,), (9,)))
    gradients = []
    for dtype in (torch.float32, torch.float64):
        inputs = [value.to(dtype).requires_grad_() for value in (scores, transitions, first, last)]
        total = crf_log_partition(*inputs).sum()
        gradients.append((total.double(), *torch.autograd.grad(total, inputs)))
    for single, double in zip(*gradients, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-3)


def test_forbidden_transitions__equal_paths_without_them() -> None:
    allowed = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], bool), np.array([1, 1, 0], bool), np.array([0, 1, 1], bool)
    scores = draw(4, dtype=torch.float32)[0]
    crf = CRF(3, allowed)
    with torch.no_grad():
        for weight in crf.parameters():
            weight.normal_()
    tags = torch.tensor([[0, 2, 2, 1], [1, 0, 0, 0], [1, 0, 2, 0]])
    found = crf(with_garbage(scores), tags, torch.tensor(LENGTHS))
    paths = crf.decode(scores, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        every = every_path(row, scores, *(weight.detach() for weight in crf.parameters()))
        legal = {
            path: score
            for path, score in every.items()
            if allowed[1][path[0]] and allowed[2][path[-1]] and all(allowed[0][a, b] for a, b in pairwise(path))
        }
        right = legal[tuple(tags[row, :length].tolist())]
        expected = np.logaddexp.reduce([*legal.values()]) - right
        np.testing.assert_allclose(found[row].detach(), expected, rtol=1e-4)
        assert tuple(paths[row]) == max(legal, key=legal.__getitem__)


def test_crf__learns_transitions() -> None:
    """Scores say nothing; only the order of tags can be learned: 0 1 2 0 1 2 ..."""
    tags = torch.arange(12).remainder(3).repeat(4, 1)
    crf = CRF(3)
    optimizer = torch.optim.Adam(crf.parameters(), lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        crf(torch.zeros(4, 12, 3), tags).sum().backward()
        optimizer.step()
    assert crf.decode(torch.zeros(1, 9, 3))[0].tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.zeros(3, 4)}, "scores of floats of shape"),
        ({"scores": torch.zeros(3, 4, 3, dtype=torch.int64)}, "scores of floats"),
        ({"tags": torch.zeros(3, 5, dtype=torch.int64)}, "shape \\(3, 4\\)"),
        ({"tags": torch.zeros(3, 4)}, "whole numbers"),
        ({"tags": torch.full((3, 4), 3)}, "tag 0 of row 0 is 3; tags are in 0..2"),
        ({"transitions": torch.zeros(2, 3)}, "for 3 tags"),
        ({"lengths": torch.tensor([4, 1, 5])}, "in 1..4"),
        ({"lengths": torch.tensor([4, 1])}, "3 whole numbers"),
        ({"lengths": torch.tensor([4.0, 1.0, 2.0])}, "whole numbers"),
    ],
)
def test_loss__rejects(change, message: str) -> None:
    whole = {
        "scores": torch.zeros(3, 4, 3),
        "tags": torch.zeros(3, 4, dtype=torch.int64),
        "transitions": torch.zeros(3, 3),
        "first": torch.zeros(3),
        "last": torch.zeros(3),
        "lengths": torch.tensor(LENGTHS),
    }
    with pytest.raises(LSTMKitError, match=message):
        crf_loss(**(whole | change))


def test_crf__rejects_allowed_shapes() -> None:
    with pytest.raises(LSTMKitError, match="allowed first of shape \\(3,\\)"):
        CRF(3, (np.ones((3, 3), bool), np.ones(2, bool), np.ones(3, bool)))
