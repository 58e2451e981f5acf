"""A test of the tests of the family: plain Python must notice every part of every cell and option that goes missing."""

from typing import Any

import pytest
import torch
from helpers.family import ROWS, Row
from helpers.family_checks import expect_plain
from helpers.hostile import Hostile, hostile
from helpers.mutants import MUTANTS
from helpers.specs import OPTIONS

from lstmkit.reference import run_sequence
from lstmkit.spec import CellSpec

EVALUATED = {name: row for name, row in ROWS.items() if not row.training}
EVERY = pytest.mark.parametrize("row", EVALUATED.values(), ids=EVALUATED)
# Bugs of the drivers, which know nothing of the cell.
OF_DRIVERS = (
    "backward direction not reversed",
    "directions share weights",
    "second half repeats the first",
    "initial state ignored",
    "padding leaks",
)
# Rows of options without which a cell has the same weights, so that they could be forgotten in silence.
SAME_WEIGHTS = [
    f"{cell} {name}"
    for cell, own in OPTIONS.items()
    for name in own
    if ROWS[cell].spec.parameter_shapes() == ROWS[f"{cell} {name}"].spec.parameter_shapes()
    and ROWS[cell].spec.padding == ROWS[f"{cell} {name}"].spec.padding
]


def check(case: Hostile, run: Any = run_sequence, spec: CellSpec | None = None, **changed: Any) -> None:
    """What the contract does, in short; ``changed`` is given to the reference, and not to plain Python."""
    inputs = {"parameters": case.parameters, "state": case.hx, "extra": case.extra} | changed
    parameters, state, extra = inputs["parameters"], inputs["state"], inputs["extra"]
    given = {} if extra is None else {"extra": extra}
    result = run(torch, spec or case.spec, parameters, case.x, state, lengths=case.lengths, **given)
    expect_plain(case, result.output, result.state)


def must_notice(case: Hostile, *arguments: Any, **changed: Any) -> None:
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check(case, *arguments, **changed)


@EVERY
def test_check__matches_plain_python__unmutated(row: Row) -> None:
    check(hostile(row.deep))


@EVERY
def test_check__rejects_missing_part__each_parameter_and_state(row: Row) -> None:
    case = hostile(row.deep)
    for name, value in case.parameters.items():
        if value.numel():
            must_notice(case, parameters=case.parameters | {name: torch.zeros_like(value)})
    for k, value in enumerate(case.hx):
        must_notice(case, state=(*case.hx[:k], torch.zeros_like(value), *case.hx[k + 1 :]))
    if case.extra is not None:
        must_notice(case, extra=torch.ones_like(case.extra))


@EVERY
def test_check__rejects_exchanged_gates__rows_of_each_matrix(row: Row) -> None:
    """The first gate's rows for the last one's, where there are two."""
    case = hostile(row.deep)
    for name, value in case.parameters.items():
        gates = len(case.spec.gates_with_weights)
        if name.startswith("weight_ih") and gates > 1 and len(value) % gates == 0:
            must_notice(case, parameters=case.parameters | {name: value.roll(len(value) // gates, 0)})


@EVERY
@pytest.mark.parametrize("name", OF_DRIVERS)
def test_check__rejects_wrong_driver(row: Row, name: str) -> None:
    must_notice(hostile(row.deep), MUTANTS[name])


@pytest.mark.parametrize("name", SAME_WEIGHTS)
def test_check__rejects_forgotten_option(name: str) -> None:
    """The LSTM's are in test_variant_mutants.py."""
    must_notice(hostile(ROWS[name].deep), run_sequence, ROWS[name.partition(" ")[0]].deep)


def test_forgettable_options__equal_twelve() -> None:
    found = {cell: [name.partition(" ")[2] for name in SAME_WEIGHTS if name.startswith(cell)] for cell in OPTIONS}
    assert {cell: names for cell, names in found.items() if names} == {
        "rnn": ["relu", "scaled-tanh", "elu", "clip"],
        "gru": ["reset-before", "activations", "gelu", "clip"],
        "janet": ["beta"],
        "phased": ["leak"],
        "conv_lstm": ["activations", "clip"],
    }
