"""A test of the tests of variants: plain Python must notice every seeded bug, and pass the real thing."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from helpers import naive_lstm
from helpers.hostile import close, hostile
from helpers.specs import make_spec
from helpers.variant_mutants import WRONG_OPTIONS, WRONG_PIECES

from lstmkit.reference import run_sequence, split_states
from lstmkit.spec import CellSpec


def check(asked: CellSpec, done: CellSpec, broken: Any) -> None:
    """What the contract does to an option, in short: one row of hostile numbers."""
    case = hostile(asked)
    row = [[value[0, 1].tolist() for value in layer] for layer in split_states(asked, case.hx)]
    with broken:
        result = run_sequence(torch, done, case.parameters, case.x, case.hx, lengths=case.lengths)
    length = int(case.lengths[1])
    numbers = {name: value.tolist() for name, value in case.parameters.items()}
    output, last = naive_lstm.run_stack(asked, numbers, case.clean[:length, 1].tolist(), row)
    close(result.output[:length, 1], torch.tensor(output, dtype=torch.float64))
    for layer, states in zip(split_states(asked, result.state), last, strict=True):
        for ours, theirs in zip(layer, states, strict=True):
            close(ours[0, 1], torch.tensor(theirs, dtype=torch.float64))


@pytest.mark.parametrize("name", [*WRONG_OPTIONS, *WRONG_PIECES])
def test_check__matches_plain_python__unmutated(name: str) -> None:
    asked = make_spec(**(WRONG_OPTIONS.get(name) or WRONG_PIECES[name])[0])
    check(asked, asked, nullcontext())


@pytest.mark.parametrize("name", WRONG_OPTIONS)
def test_check__rejects_wrong_option(name: str) -> None:
    asked, done = (make_spec(**options) for options in WRONG_OPTIONS[name])
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check(asked, done, nullcontext())


@pytest.mark.parametrize("name", WRONG_PIECES)
def test_check__rejects_wrong_piece(name: str) -> None:
    options, broken = WRONG_PIECES[name]
    asked = make_spec(**options)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check(asked, asked, broken())


def test_mutants__equal_count() -> None:
    assert (len(WRONG_OPTIONS), len(WRONG_PIECES)) == (16, 8)
