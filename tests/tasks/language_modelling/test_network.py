"""The network against one pass over the whole text, and against torch's own layers."""

import math

import pytest
import torch
from helpers.language import SHAPES, language_network
from torch import nn
from torch.nn import functional

from lstmkit.tasks.language_modelling.fitting import Judge, build
from lstmkit.tasks.language_modelling.recipes import RECIPES

TEXT = torch.randint(16, (3, 13), generator=torch.Generator().manual_seed(4))


def stretches(*ends):
    places = [0, *ends]
    return [
        {"tokens": TEXT[:, start : end + 1], "streams": torch.arange(3), "first": start == 0}
        for start, end in zip(places, ends, strict=False)
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_stretches__match_the_whole_text(shape):
    network = language_network(shape)
    whole = network(stretches(12)[0])
    parts = [network(batch) for batch in stretches(4, 8, 12)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole, rtol=1e-5, atol=1e-6)
    again = network(stretches(12)[0])
    assert torch.equal(again, whole)


def test_streams__keep_their_states__whoever_reads_them():
    """As two processes read: one the first and the last stream, the other the one between."""
    whole, one, other = (language_network("untied") for _ in range(3))
    for batch in stretches(4, 8, 12):
        expected = whole(batch)
        parts = []
        for network, rows in ((one, torch.tensor([0, 2])), (other, torch.tensor([1]))):
            part = {"tokens": batch["tokens"][rows], "streams": rows, "first": batch["first"]}
            parts.append(network(part) * len(rows) / 3)
        torch.testing.assert_close(sum(parts), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(one.h[:, [0, 2]], whole.h[:, [0, 2]])
    assert not one.h[:, 1].any()


def test_gradient__ends_where_a_stretch_begins():
    network = language_network("one-layer")
    network(stretches(4)[0]).backward()
    network.zero_grad()
    network(stretches(4, 8)[1]).backward()
    seen = set(TEXT[:, 4:8].flatten().tolist())
    rows = network.model.parts["embedded"].weight.grad.abs().sum(1) > 0
    assert set(rows.nonzero().flatten().tolist()) == seen


@pytest.mark.parametrize("shape", ["untied", "tied-same-size"])
def test_loss__matches_torch_layers(shape):
    network = language_network(shape)
    own = network.model.stage_weights()
    size = own["embedded"]["weight"].shape[1]
    lstm = nn.LSTM(size, 7, 2, batch_first=True)
    lstm.load_state_dict(own["lstm"])
    output, _ = lstm(own["embedded"]["weight"][TEXT[:, :-1]])
    head = own["scores"].get("weight", own["embedded"]["weight"])
    scores = output @ head.T + own["scores"]["bias"]
    expected = functional.cross_entropy(scores.flatten(0, 1), TEXT[:, 1:].flatten())
    found = network(stretches(12)[0])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    theirs = torch.autograd.grad(expected, list(lstm.parameters()))
    ours = torch.autograd.grad(found, list(network.model.parts["lstm"].parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_regularisers__never_act_in_evaluation():
    options = {"dropout": 0.3, "input_dropout": 0.2, "weight_dropout": 0.2, "token_dropout": 0.2}
    network, plain = language_network("tied", **options), language_network("tied")
    batch = stretches(12)[0]
    torch.testing.assert_close(network(batch), plain(batch))
    network.train()
    assert not torch.equal(network(batch), network(batch))


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__starts_at_the_loss_of_guessing(name):
    recipe = RECIPES[name].changed(embedding_size=20, hidden_size=20)
    network = build(recipe, 50, None, 3, 0)
    tokens = torch.randint(50, (3, 40), generator=torch.Generator().manual_seed(0))
    loss = network({"tokens": tokens, "streams": torch.arange(3), "first": True})
    assert abs(loss.item() - math.log(50)) < 0.3


def test_judge__matches_a_single_stretch():
    network = language_network("untied")
    tokens = torch.randint(16, (300,), generator=torch.Generator().manual_seed(1)).numpy()
    judge = Judge(tokens)
    with torch.no_grad():
        score = judge(network)
        rows = torch.from_numpy(tokens[: 16 * (300 // 16)].reshape(16, -1))
        zeros = (torch.zeros(2, 16, 7), torch.zeros(2, 16, 7))
        expected, _ = network.loss(rows, zeros)
    assert score == pytest.approx(expected.item(), rel=1e-5)
    assert not network.h.any()
