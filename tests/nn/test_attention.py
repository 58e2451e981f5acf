"""Attention by hand, against loops and against torch.nn.MultiheadAttention."""

from math import exp, log, tanh
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import close
from torch import Tensor

from lstmkit import nn
from lstmkit.reference import additive_scores, attend, dot_scores
from lstmkit.spec import OptionError, ShapeError

LENGTHS = [5, 2, 4]


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def draw(query_size: int = 6, key_size: int = 6, value_size: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    sizes = ((3, 3, query_size), (5, 3, key_size), (5, 3, value_size))
    return tuple(torch.randn(*size, generator=generator, dtype=torch.float64) for size in sizes)  # pyright: ignore


def hostile_layer(kind: str) -> Any:
    torch.manual_seed(1)
    layers = {
        "additive": lambda: nn.AdditiveAttention(6, 6, 4, dtype=torch.float64),
        "dot": lambda: nn.DotAttention(6),
        "heads": lambda: nn.MultiHeadAttention(6, 3, dtype=torch.float64),
    }
    layer = layers[kind]()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return layer


EVERY = pytest.mark.parametrize("kind", ["additive", "dot", "heads"])


def test_dot__matches_hand_worked_weights() -> None:
    """Scores 0 and log 3, so weights 1/4 and 3/4 of the values 4 and 8; scaled, over sqrt 4, the scores are half."""
    query, key, value = (
        tensor([[[1.0, 1, 0, 0]]]),
        tensor([[[0.0, 0, 1, 1]], [[log(3), 0, 5, 0]]]),
        tensor([[[4.0]], [[8.0]]]),
    )
    read, weights = nn.DotAttention(4, scale=False)(query, key, value, return_weights=True)
    close(read, tensor([[[7.0]]]))
    close(weights, tensor([[[0.25, 0.75]]]))
    root = 3**0.5
    close(nn.DotAttention(4)(query, key, value), tensor([[[(4 + 8 * root) / (1 + root)]]]))


def test_additive__matches_hand_worked_weights() -> None:
    """Scores 2 tanh(q + k - 1) for q = 1 and k = 0 and 1."""
    layer = nn.AdditiveAttention(1, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        for name, value in (("weight_q", 1.0), ("weight_k", 1.0), ("weight_v", 2.0), ("bias", -1.0)):
            getattr(layer, name).fill_(value)
    _, weights = layer(tensor([[[1.0]]]), tensor([[[0.0]], [[1.0]]]), return_weights=True)
    e = exp(2 * tanh(1))
    close(weights, tensor([[[1 / (1 + e), e / (1 + e)]]]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_heads__match_torch__values_and_all_gradients(bias: bool, lengths: list[int] | None) -> None:
    ours = nn.MultiHeadAttention(6, 3, bias=bias, dtype=torch.float64)
    theirs = torch.nn.MultiheadAttention(6, 3, bias=bias, dtype=torch.float64)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    inputs = [value.requires_grad_() for value in draw()]
    mask = None if lengths is None else torch.arange(5) >= torch.tensor(lengths)[:, None]
    read, weights = ours(*inputs, lengths=lengths, return_weights=True)
    expected, expected_weights = theirs(*inputs, key_padding_mask=mask, average_attn_weights=False)
    close(read, expected)
    close(weights, expected_weights)
    upstream = torch.randn_like(read)
    found = torch.autograd.grad(read, [*inputs, *ours.parameters()], upstream)
    for left, right in zip(
        found, torch.autograd.grad(expected, [*inputs, *theirs.parameters()], upstream), strict=True
    ):
        close(left, right)


def test_scores__match_loops() -> None:
    query, key, value = draw(4, 5, 2)
    layer = nn.AdditiveAttention(4, 5, 7, dtype=torch.float64)
    torch.nn.init.normal_(layer.bias)
    read, weights = layer(query, key, value, lengths=LENGTHS, return_weights=True)
    for b, length in enumerate(LENGTHS):
        for i in range(3):
            scores = []
            for j in range(length):
                inside = layer.weight_q @ query[i, b] + layer.weight_k @ key[j, b] + layer.bias
                scores.append(torch.dot(layer.weight_v, torch.tanh(inside)))
            alpha = torch.stack(scores).softmax(0)
            close(weights[b, i, :length], alpha)
            close(read[i, b], sum(a * v for a, v in zip(alpha, value[:length, b], strict=True)))  # pyright: ignore
        assert (weights[b, :, length:] == 0).all()


@EVERY
@pytest.mark.parametrize("filler", [torch.nan, torch.inf, 9.0])
def test_attention__never_reads_padding__in_values_or_gradients(kind: str, filler: float) -> None:
    layer = hostile_layer(kind)
    query, key, value = draw()
    padding = (torch.arange(5)[:, None] >= torch.tensor(LENGTHS))[:, :, None]
    every = []
    for fill in (filler, 0.0):
        inputs = [query.clone(), key.masked_fill(padding, fill), value.masked_fill(padding, fill)]
        leaves = [x.requires_grad_() for x in inputs]
        read = layer(*leaves, lengths=LENGTHS)
        every.append([read, *torch.autograd.grad(read.square().sum(), [*leaves, *layer.parameters()])])
    for left, right in zip(*every, strict=True):
        assert torch.equal(left, right)
    assert (every[0][2].masked_select(padding) == 0).all()


@EVERY
def test_attention__preserves_meaning__batch_first_rows_and_default_value(kind: str) -> None:
    layer = hostile_layer(kind)
    query, key, value = draw()
    read = layer(query, key, value, lengths=LENGTHS)
    for b, length in enumerate(LENGTHS):
        close(layer(query[:, b : b + 1], key[:length, b : b + 1], value[:length, b : b + 1]), read[:, b : b + 1])
    close(layer(query, key), layer(query, key, key))
    layer.batch_first = True
    turned = layer(*(x.transpose(0, 1) for x in (query, key, value)), lengths=LENGTHS)
    close(turned.transpose(0, 1), read)


@EVERY
def test_attention__matches_finite_differences__twice_and_compiled(kind: str) -> None:
    layer = hostile_layer(kind)
    inputs = tuple(x.requires_grad_() for x in draw())
    assert torch.autograd.gradcheck(layer, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, inputs, fast_mode=True)
    torch._dynamo.reset()
    close(torch.compile(layer, fullgraph=True, backend="aot_eager")(*inputs), layer(*inputs))
    together = torch.func.vmap(layer, in_dims=(0, None, None))(torch.stack([inputs[0], inputs[0] * 2]), *inputs[1:])
    close(together[1], layer(inputs[0] * 2, *inputs[1:]))


def test_numpy__equals_torch() -> None:
    query, key, value = (x.transpose(0, 1).numpy() for x in draw())
    weights = [np.random.default_rng(3).normal(size=size) for size in ((4, 6), (4, 6), (4,), (4,))]
    readable = (np.arange(5) < np.array(LENGTHS)[:, None])[:, None]
    tensors = [torch.from_numpy(np.ascontiguousarray(x)) for x in (query, key, value, *weights, readable)]
    for scores, expected in (
        (additive_scores(np, query, key, *weights), additive_scores(torch, tensors[0], tensors[1], *tensors[3:7])),
        (dot_scores(np, query, key, True), dot_scores(torch, tensors[0], tensors[1], True)),
    ):
        ours, theirs = attend(np, scores, value, readable), attend(torch, expected, tensors[2], tensors[7])
        for left, right in zip(ours, theirs, strict=True):
            close(torch.from_numpy(left), right)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.AdditiveAttention(0, 2, 3), OptionError, "query_size must be a whole number of at least 1"),
        (lambda: nn.AdditiveAttention(2, 2, 0), OptionError, "attention_size"),
        (lambda: nn.MultiHeadAttention(6, 4), OptionError, "num_heads must divide embed_dim, not 4 into 6"),
        (lambda: nn.DotAttention(6, batch_first=1), OptionError, "batch_first must be True or False"),  # pyright: ignore
        (lambda: nn.DotAttention(4)(*draw()), ShapeError, r"query must have shape \(T, B, 4\), not \(3, 3, 6\)"),
        (lambda: nn.DotAttention(6)(draw()[0], draw()[1][:, :2]), ShapeError, "one batch"),
        (lambda: nn.DotAttention(6)(draw()[0], draw()[1], draw()[2][:4]), ShapeError, "a value for each"),
        (lambda: nn.DotAttention(6)(*draw(), lengths=[5, 0, 1]), ShapeError, r"in 1\.\.5"),
        (lambda: nn.DotAttention(6)(*draw(), lengths=[5, 1]), ShapeError, r"\(3,\), not \(2,\)"),
        (lambda: nn.MultiHeadAttention(6, 3)(*draw(6, 6, 4)), ShapeError, "6 features, not 4"),
    ],
)
def test_attention__rejects_wrong_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
