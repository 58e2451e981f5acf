"""Words that foretell each other, against the equations word by word."""

import math
from typing import Any

import pytest
import torch

from lstmkit.data import Sentence
from lstmkit.nn.stages import StagedModel
from lstmkit.spec import OptionError
from lstmkit.tasks.tagging import Tagger, network
from lstmkit.tasks.tagging.batches import make_batch
from lstmkit.tasks.tagging.model import tag_stages
from lstmkit.tasks.tagging.network import TagNetwork

SENTENCES = [
    Sentence(("a", "b", "a", "c", "d"), ("X", "Y", "X", "Y", "X"), None),
    Sentence(("c",), ("X",), None),
    Sentence(("b", "a", "rare"), ("X", "X", "Y"), None),
    Sentence(("d", "c", "b"), ("X", "X", "Y"), None),
]


def build(weight: float) -> tuple[Any, dict[str, torch.Tensor]]:
    tagger = Tagger(hidden_size=5, word_size=4, dropout=0)
    config = tagger._config(SENTENCES)
    torch.manual_seed(0)
    model = StagedModel(tag_stages(config, tagger.sizes))
    return TagNetwork(model, len(config.words), weight), make_batch(config, SENTENCES)


@torch.no_grad()
def expected_nats(module: Any, batch: dict[str, torch.Tensor], classes: int) -> float:
    """Every word that has a neighbour with a row, one at a time."""
    read = module.model(batch)["thinned"]
    total = 0.0
    for row, length in enumerate(batch["lengths"].tolist()):
        for step in range(length):
            ahead, back = read[row, step].chunk(2)
            for head, half, other in ((module.heads[0], ahead, step + 1), (module.heads[1], back, step - 1)):
                if not 0 <= other < length or not 0 < (word := int(batch["tokens"][row, other])) < classes:
                    continue
                scores = head.scores(torch.tanh(head.narrow(half)))
                total += math.log(float(scores.exp().sum())) - float(scores[word])
    return total


@pytest.mark.parametrize("foretold", [7500, 3])
def test_foretold__matches_words_one_by_one(monkeypatch: pytest.MonkeyPatch, foretold: int) -> None:
    monkeypatch.setattr(network, "_FORETOLD", foretold)
    module, batch = build(0.3)
    found = module(batch, only=("scores",))
    expected = expected_nats(module, batch, min(foretold, 5))
    assert expected > 1
    assert float(found["foretold"].detach()) == pytest.approx(0.3 * expected, rel=1e-5)
    assert set(found) == {"scores", "foretold"}


def test_foretold__never_reads_padding() -> None:
    module, batch = build(1.0)
    found = float(module(batch, only=("scores",))["foretold"].detach())
    real = torch.arange(batch["tokens"].shape[1]) < batch["lengths"][:, None]
    assert not real.all()
    batch["tokens"] = batch["tokens"].masked_fill(~real, 2)
    assert float(module(batch, only=("scores",))["foretold"].detach()) == pytest.approx(found, rel=1e-6)


def test_foretold__has_gradients_in_the_tagger() -> None:
    module, batch = build(1.0)
    module(batch, only=("scores",))["foretold"].backward()
    assert module.model.get_parameter("parts.words.weight").grad.abs().sum() > 0
    assert all(weight.grad is not None for weight in module.heads.parameters())


def test_network__equals_tagger__without_weight_and_outside_training() -> None:
    module, batch = build(0.0)
    assert not list(module.heads.parameters())
    assert set(module(batch, only=("scores",))) == {"scores"}
    module, batch = build(0.5)
    module.eval()
    found = module(batch, only=("scores",))
    assert set(found) == {"scores"}
    assert torch.equal(found["scores"], module.model(batch)["scores"])


def test_foretold__is_nothing__where_no_neighbour_has_a_row() -> None:
    module, batch = build(1.0)
    batch["tokens"] = torch.zeros_like(batch["tokens"])
    assert float(module(batch, only=("scores",))["foretold"]) == 0


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, True, "much"])
def test_language_modelling__rejects(value: object) -> None:
    with pytest.raises(OptionError, match="language_modelling must be a number of at least 0"):
        Tagger(language_modelling=value)  # pyright: ignore[reportArgumentType]
