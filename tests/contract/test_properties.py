"""Invariants of the equations, over stacks, options, sizes, splits and orders that Hypothesis picks."""

import json

import numpy as np
import torch
from helpers import naive_lstm
from helpers.hostile import Hostile, close, hostile
from helpers.specs import specs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lstmkit import nn
from lstmkit.reference import run_sequence, run_step, split_states
from lstmkit.spec import CellSpec

State = tuple[Tensor, ...]


def cases(spec: CellSpec, data: st.DataObject) -> Hostile:
    return hostile(
        spec, steps=data.draw(st.integers(1, 7)), batch=data.draw(st.integers(1, 4)), seed=data.draw(st.integers(0, 99))
    )


def run(case: Hostile, x: Tensor, hx: State, **options: Tensor) -> State:
    """Output and states, by the reference under NumPy."""
    arrays = {name: value.numpy() for name, value in options.items()}
    parameters = {name: value.numpy() for name, value in case.parameters.items()}
    result = run_sequence(np, case.spec, parameters, x.numpy(), [value.numpy() for value in hx], **arrays)
    return tuple(torch.from_numpy(value) for value in (result.output, *result.state))


@settings(max_examples=120, deadline=None)
@given(specs(), st.data())
def test_sequence__matches_plain_python__any_options(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    result = run_sequence(torch, spec, case.parameters, case.x, case.hx, lengths=case.lengths)
    numbers = {name: value.tolist() for name, value in case.parameters.items()}
    firsts, lasts = split_states(spec, case.hx), split_states(spec, result.state)
    for b, length in enumerate(case.lengths.tolist()):
        row = [[value[d, b].tolist() for value in layer] for layer in firsts for d in range(spec.num_directions)]
        output, last = naive_lstm.run_stack(spec, numbers, case.clean[:length, b].tolist(), row)
        close(result.output[:length, b], torch.tensor(output, dtype=torch.float64))
        found = [[value[d, b] for value in layer] for layer in lasts for d in range(spec.num_directions)]
        for ours, theirs in zip(found, last, strict=True):
            for left, right in zip(ours, theirs, strict=True):
                close(left, torch.tensor(right, dtype=torch.float64))


@settings(max_examples=60, deadline=None)
@given(specs(bidirectional=False), st.data())
def test_sequence__preserves_values__split_anywhere(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    cut = data.draw(st.integers(1, max(1, len(case.clean) - 1)))
    output, *last = run(case, case.clean, case.hx)
    head, *state = run(case, case.clean[:cut], case.hx)
    tails = [head]
    if cut < len(case.clean):
        tail, *state = run(case, case.clean[cut:], tuple(state))
        tails.append(tail)
    for left, right in zip((torch.cat(tails), *state), (output, *last), strict=True):
        close(left, right)


@settings(max_examples=60, deadline=None)
@given(specs(), st.data())
def test_sequence__preserves_batch_order(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    order = torch.tensor(data.draw(st.permutations(range(case.x.shape[1]))))
    results = run(case, case.x, case.hx, lengths=case.lengths, resets=case.resets)
    shuffled = run(
        case,
        case.x[:, order],
        tuple(value[:, order] for value in case.hx),
        lengths=case.lengths[order],
        resets=case.resets[:, order],
    )
    for ours, theirs in zip(shuffled, results, strict=True):
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
    output, *last = run(case, case.x, case.hx, lengths=case.lengths)
    for b, length in enumerate(case.lengths.tolist()):
        row = slice(b, b + 1)
        alone = run(case, case.x[:length, row], tuple(value[:, row] for value in case.hx))
        for ours, theirs in zip(alone, (output[:length, row], *(value[:, row] for value in last)), strict=True):
            close(ours, theirs)
        assert (output[length:, b] == 0).all()


@settings(max_examples=40, deadline=None)
@given(specs(bidirectional=False), st.data())
def test_step__matches_sequence__any_options(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    whole = run_sequence(torch, spec, case.parameters, case.clean, case.hx)
    state: State = case.hx
    for t, x in enumerate(case.clean):
        output, state = run_step(torch, spec, case.parameters, x, state)
        close(output, whole.output[t])
    for left, right in zip(state, whole.state, strict=True):
        close(left, right)


@settings(max_examples=40, deadline=None)
@given(specs(plain=True), st.data())
def test_layer__matches_numpy__any_size(spec: CellSpec, data: st.DataObject) -> None:
    check_layer(cases(spec, data), data.draw(st.sampled_from(["torch", "reference"])))


@settings(max_examples=60, deadline=None)
@given(specs(), st.data())
def test_layer__matches_numpy__any_options(spec: CellSpec, data: st.DataObject) -> None:
    check_layer(cases(spec, data), None)


def check_layer(case: Hostile, engine: str | None) -> None:
    spec = case.spec
    layer = nn.build(spec, dtype=torch.float64, engine=engine).eval()
    assert layer.spec == spec
    layer.load_state_dict(case.parameters)
    output, state = layer(case.x, case.hx, lengths=case.lengths)
    for ours, theirs in zip((output, *state), run(case, case.x, case.hx, lengths=case.lengths), strict=True):
        close(ours.detach(), theirs)


@settings(max_examples=100, deadline=None)
@given(specs())
def test_spec__roundtrips__through_json(spec: CellSpec) -> None:
    assert CellSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
