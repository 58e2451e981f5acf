"""Invariants of every cell, over stacks, options, sizes, engines, splits and orders that Hypothesis picks."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family import gradients, leaves
from helpers.family import run as family_run
from helpers.family_checks import expect_plain
from helpers.hostile import Hostile, close, hostile
from helpers.specs import family, rates, specs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lstmkit import nn
from lstmkit.ops.choice import ENGINES
from lstmkit.reference import run_sequence, run_step
from lstmkit.spec import CellSpec, EngineError

State = tuple[Tensor, ...]

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def cases(spec: CellSpec, data: st.DataObject) -> Hostile:
    return hostile(
        spec, steps=data.draw(st.integers(1, 7)), batch=data.draw(st.integers(1, 4)), seed=data.draw(st.integers(0, 99))
    )


def run(case: Hostile, x: Tensor, hx: State, at: Any = slice(None), **options: Tensor) -> State:
    """Output and states, by the reference under NumPy; ``at`` are the steps and rows of ``x`` in the case."""
    if case.extra is not None:
        options["extra"] = case.extra[at]
    arrays = {name: value.numpy() for name, value in options.items()}
    parameters = {name: value.numpy() for name, value in case.parameters.items()}
    result = run_sequence(np, case.spec, parameters, x.numpy(), [value.numpy() for value in hx], **arrays)
    return tuple(torch.from_numpy(value) for value in (result.output, *result.state))


@settings(max_examples=120, deadline=None)
@given(family(), st.data())
def test_sequence__matches_plain_python__any_options(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    result = run_sequence(torch, spec, case.parameters, case.x, case.hx, extra=case.extra, lengths=case.lengths)
    expect_plain(case, result.output, result.state)


@settings(max_examples=60, deadline=None)
@given(family(bidirectional=False), st.data())
def test_sequence__preserves_values__split_anywhere(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    cut = data.draw(st.integers(1, max(1, len(case.clean) - 1)))
    output, *last = run(case, case.clean, case.hx)
    head, *state = run(case, case.clean[:cut], case.hx, slice(0, cut))
    tails = [head]
    if cut < len(case.clean):
        tail, *state = run(case, case.clean[cut:], tuple(state), slice(cut, None))
        tails.append(tail)
    for left, right in zip((torch.cat(tails), *state), (output, *last), strict=True):
        close(left, right)


@settings(max_examples=60, deadline=None)
@given(family(), st.data())
def test_sequence__preserves_batch_order(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    order = torch.tensor(data.draw(st.permutations(range(case.x.shape[1]))))
    results = run(case, case.x, case.hx, lengths=case.lengths, resets=case.resets)
    shuffled = run(
        case,
        case.x[:, order],
        tuple(value[:, order] for value in case.hx),
        (slice(None), order),
        lengths=case.lengths[order],
        resets=case.resets[:, order],
    )
    for ours, theirs in zip(shuffled, results, strict=True):
        close(ours, theirs[:, order])


@settings(max_examples=60, deadline=None)
@given(family(), st.data(), st.floats(allow_nan=True, allow_infinity=True))
def test_sequence__never_reads_padding(spec: CellSpec, data: st.DataObject, filler: float) -> None:
    case = cases(spec, data)
    # Alike in memory too: products of other strides are added up in another order.
    dirty, clean = (torch.where(case.x.isnan(), torch.tensor(z, dtype=torch.float64), case.x) for z in (filler, 0.0))
    left = run(case, dirty, case.hx, lengths=case.lengths, resets=case.resets)
    right = run(case, clean, case.hx, lengths=case.lengths, resets=case.resets)
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@settings(max_examples=60, deadline=None)
@given(family(), st.data())
def test_lengths__equals_cutting_each_row(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    output, *last = run(case, case.x, case.hx, lengths=case.lengths)
    for b, length in enumerate(case.lengths.tolist()):
        row = slice(b, b + 1)
        alone = run(case, case.x[:length, row], tuple(value[:, row] for value in case.hx), (slice(0, length), row))
        for ours, theirs in zip(alone, (output[:length, row], *(value[:, row] for value in last)), strict=True):
            close(ours, theirs)
        assert (output[length:, b] == 0).all()


@settings(max_examples=40, deadline=None)
@given(family(bidirectional=False), st.data())
def test_step__matches_sequence__any_options(spec: CellSpec, data: st.DataObject) -> None:
    case = cases(spec, data)
    whole = run_sequence(torch, spec, case.parameters, case.clean, case.hx, extra=case.extra)
    state: State = case.hx
    for t, x in enumerate(case.clean):
        output, state = run_step(torch, spec, case.parameters, x, state, None if case.extra is None else case.extra[t])
        close(output, whole.output[t])
    for left, right in zip(state, whole.state, strict=True):
        close(left, right)


@settings(max_examples=40, deadline=None)
@given(specs(plain=True), st.data())
def test_layer__matches_numpy__any_size(spec: CellSpec, data: st.DataObject) -> None:
    check_layer(cases(spec, data), data.draw(st.sampled_from(["torch", "reference"])))


@settings(max_examples=80, deadline=None)
@given(family(), st.data())
def test_layer__matches_numpy__any_options(spec: CellSpec, data: st.DataObject) -> None:
    check_layer(cases(spec, data), data.draw(st.sampled_from([None, *ENGINES])))


def check_layer(case: Hostile, engine: str | None) -> None:
    layer = build(case, engine).eval()
    assert layer.spec == case.spec
    if (refusal := refuses(layer)) is not None:
        with pytest.raises(EngineError, match=re.escape(refusal)):
            family_run(layer, case, case.x, case.hx, lengths=case.lengths)
        return
    ours = family_run(layer, case, case.x, case.hx, lengths=case.lengths)
    for left, right in zip(ours, run(case, case.x, case.hx, lengths=case.lengths), strict=True):
        close(left.detach(), right)


def build(case: Hostile, engine: str | None, **options: Any) -> Any:
    layer = nn.build(case.spec, dtype=case.clean.dtype, engine=engine, **options)
    layer.load_state_dict(case.parameters)
    return layer


def refuses(layer: Any, **asked: bool) -> str | None:
    try:
        layer.explain_engine(lengths=True, **asked)
    except EngineError as error:
        return str(error)
    return None


# The same draws in every run: to normalise a single unit may divide by so little that rounding grows beyond any limit.
@settings(max_examples=150, deadline=None, derandomize=True)
@given(family(), st.data())
def test_native__matches_reference__values_and_all_gradients_of_any_options(
    spec: CellSpec, data: st.DataObject
) -> None:
    """In evaluation, and with everything in training that a layer can draw."""
    case = cases(spec, data)
    drawn = data.draw(rates()) if spec.cell == "lstm" else {}
    options = {name: rate for name, rate in drawn.items() if name != "dropout" or spec.num_layers > 1}
    masks: Any = {"lengths": case.lengths, "return_gates": True}
    masks |= {"resets": case.resets} if data.draw(st.booleans()) else {}
    layers = [build(case, engine, **options).train(bool(options)) for engine in ("native", "reference")]
    refusal = refuses(layers[0], **dict.fromkeys(masks.keys() - {"lengths"}, True))
    if refusal is not None:
        with pytest.raises(EngineError, match=re.escape(refusal)):
            family_run(layers[0], case, case.x, case.hx, **masks)
        return
    results = []
    for layer in layers:
        x, hx = leaves(case.x, case.hx)
        outputs = family_run(layer, case, x, hx, **masks)
        results.append((*outputs, *gradients(outputs, [x, *hx, *layer.parameters()])))
    for left, right in zip(*results, strict=True):
        close(left, right)


@settings(max_examples=100, deadline=None)
@given(family())
def test_spec__roundtrips__through_json(spec: CellSpec) -> None:
    assert CellSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
