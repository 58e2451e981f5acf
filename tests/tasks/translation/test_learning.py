"""The loss of a translator."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from lstmkit.runtime.translate_encoders import Numbered
from lstmkit.spec import OptionError
from lstmkit.tasks.translation import Translator
from lstmkit.tasks.translation.learning import make_batch, token_loss


class Told(nn.Module):
    """Gives fixed scores, whatever is read."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"scores": self.scores[: len(inputs["source"])]}


def uneven() -> dict[str, Tensor]:
    pairs = Numbered([[3, 4], [5]], [[3, 4, 2], [5, 2]])
    return make_batch(pairs, np.array([0, 1]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_consistency__matches_torch(smoothing: float) -> None:
    scores = torch.randn(4, 3, 7, dtype=torch.float64)
    scores[1, 2] = scores[3, 2] = torch.nan  # padding
    batch = uneven()
    loss, count = token_loss(Told(scores), batch, smoothing, 5.0)
    real = batch["answer"] >= 0
    halves = [half[real] for half in scores.chunk(2)]
    missed = [cross_entropy(half, batch["answer"][real], label_smoothing=smoothing, reduction="sum") for half in halves]
    first, second = (half.log_softmax(1) for half in halves)
    apart = [kl_div(a, b, log_target=True, reduction="sum") for a, b in ((first, second), (second, first))]
    assert count == 5
    # Liang et al. (2021): both losses and alpha times the mean of both divergences; ours is half of it.
    torch.testing.assert_close(loss, (sum(missed) + 5.0 * sum(apart) / 2) / 2)


def test_consistency__equals_one_reading__where_nothing_is_dropped() -> None:
    scores = torch.randn(2, 3, 7)
    once, _ = token_loss(Told(scores), uneven(), 0.1)
    twice, _ = token_loss(Told(torch.cat([scores, scores])), uneven(), 0.1, 5.0)
    torch.testing.assert_close(once, twice)


def test_consistency__never_reads_padding() -> None:
    told = Told(torch.randn(4, 3, 7))
    token_loss(told, uneven(), 0.1, 5.0)[0].backward()
    assert (told.scores.grad[[1, 3], 2] == 0).all()
    assert (told.scores.grad[[0, 2], 2] != 0).all()


def test_consistency__learns_reversal() -> None:
    sources = [f"{a} {b}" for a in "1234" for b in "1234"] * 2
    targets = [source[::-1] for source in sources]
    options = {"level": "word", "hidden_size": 16, "max_steps": 200, "dropout": 0.1, "quiet": True}
    learner = Translator(consistency=2.0, **options).fit(sources, targets)
    assert learner.predict(["1 2", "4 3"]) == ["2 1", "3 4"]


@pytest.mark.parametrize("consistency", [-1, float("nan"), float("inf"), True, "5"])
def test_consistency__rejects(consistency) -> None:
    with pytest.raises(OptionError, match="consistency must be a number of at least 0"):
        Translator(consistency=consistency)
