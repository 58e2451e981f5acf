"""Invariants of the equations, over sizes, splits and orders that Hypothesis picks."""

import numpy as np
import torch
from helpers.hostile import Hostile, close, hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lstmkit import nn
from lstmkit.reference import run_sequence
from lstmkit.spec import CellSpec


@st.composite
def specs(draw: st.DrawFn, *, bidirectional: bool | None = None) -> CellSpec:
    hidden = draw(st.integers(1, 6))
    return CellSpec(
        input_size=draw(st.integers(1, 4)),
        hidden_size=hidden,
        num_layers=draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()) if bidirectional is None else bidirectional,
        proj_size=draw(st.integers(0, hidden - 1)),
    )


def cases(spec: CellSpec, data: st.DataObject) -> Hostile:
    return hostile(
        spec, steps=data.draw(st.integers(1, 7)), batch=data.draw(st.integers(1, 4)), seed=data.draw(st.integers(0, 99))
    )


def run(case: Hostile, x: Tensor, hx: tuple[Tensor, Tensor], **options: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    arrays = {name: value.numpy() for name, value in options.items()}
    parameters = {name: value.numpy() for name, value in case.parameters.items()}
    result = run_sequence(np, case.spec, parameters, x.numpy(), (hx[0].numpy(), hx[1].numpy()), **arrays)
    h, c = result.state
    return torch.from_numpy(result.output), torch.from_numpy(h), torch.from_numpy(c)


@settings(max_examples=60, deadline=None)
@given(specs(bidirectional=False), st.data())
def test_sequence__preserves_values__split_anywhere(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    cut = data.draw(st.integers(1, max(1, len(case.clean) - 1)))
    output, h, c = run(case, case.clean, case.hx)
    head, *state = run(case, case.clean[:cut], case.hx)
    tails = [head]
    if cut < len(case.clean):
        tail, *state = run(case, case.clean[cut:], (state[0], state[1]))
        tails.append(tail)
    close(torch.cat(tails), output)
    close(state[0], h)
    close(state[1], c)


@settings(max_examples=60, deadline=None)
@given(specs(), st.data())
def test_sequence__preserves_batch_order(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    order = torch.tensor(data.draw(st.permutations(range(case.x.shape[1]))))
    output, h, c = run(case, case.x, case.hx, lengths=case.lengths, resets=case.resets)
    shuffled = run(
        case,
        case.x[:, order],
        (case.hx[0][:, order], case.hx[1][:, order]),
        lengths=case.lengths[order],
        resets=case.resets[:, order],
    )
    for ours, theirs in zip(shuffled, (output, h, c), strict=True):
        close(ours, theirs[:, order])


@settings(max_examples=60, deadline=None)
@given(specs(), st.data(), st.floats(allow_nan=True, allow_infinity=True))
def test_sequence__never_reads_padding(spec: CellSpec, data: st.DataObject, filler: float) -> None:
    case = cases(spec, data)
    dirty = torch.where(case.x.isnan(), torch.tensor(filler, dtype=torch.float64), case.x)
    left = run(case, dirty, case.hx, lengths=case.lengths, resets=case.resets)
    right = run(case, case.clean, case.hx, lengths=case.lengths, resets=case.resets)
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@settings(max_examples=60, deadline=None)
@given(specs(), st.data())
def test_lengths__equals_cutting_each_row(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    output, h, c = run(case, case.x, case.hx, lengths=case.lengths)
    for b, length in enumerate(case.lengths.tolist()):
        row = slice(b, b + 1)
        alone = run(case, case.x[:length, row], (case.hx[0][:, row], case.hx[1][:, row]))
        for ours, theirs in zip(alone, (output[:length, row], h[:, row], c[:, row]), strict=True):
            close(ours, theirs)
        assert (output[length:, b] == 0).all()


@settings(max_examples=40, deadline=None)
@given(specs(), st.data())
def test_layer__matches_numpy__any_size(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    layer = nn.LSTM(
        spec.input_size,
        spec.hidden_size,
        spec.num_layers,
        spec.bias,
        bidirectional=spec.bidirectional,
        proj_size=spec.proj_size,
        dtype=torch.float64,
        engine=data.draw(st.sampled_from(["torch", "reference"])),
    )
    layer.load_state_dict(case.parameters)
    output, (h, c) = layer(case.x, case.hx, lengths=case.lengths)
    for ours, theirs in zip((output, h, c), run(case, case.x, case.hx, lengths=case.lengths), strict=True):
        close(ours.detach(), theirs)
