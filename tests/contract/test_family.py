"""The contract of the whole family: every cell and every option x every check x every engine.

A square either passes its check, or is refused in the words in which the choice of engines explains it; where a kernel
is written, its squares fill by themselves. ``python -m benchmarks.family_table`` makes a table of what happened here.
"""

import re
from dataclasses import fields
from typing import Any

import pytest
from helpers.family import ROWS
from helpers.family_checks import CHECKS, call_what_is_refused, find_gap, find_refusal

from lstmkit.nn.regularisers import Rates
from lstmkit.ops.choice import ENGINES
from lstmkit.spec import ACTIVATIONS, CATALOG, LAYER_NORMS, LSTMKitError, Variant

SQUARES = [
    pytest.param(row, check, engine, id=f"{row}-{check}-{engine}", marks=pytest.mark.square(check, row, engine=engine))
    for row in ROWS
    for check in CHECKS
    for engine in reversed(ENGINES)
    if find_gap(ROWS[row], CHECKS[check], engine) is None
]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("row", "check", "engine"), SQUARES)
def test_engine__matches_judge__or_refuses_as_explained(
    row: str, check: str, engine: str, record_property: Any
) -> None:
    refusal = find_refusal(ROWS[row], CHECKS[check], engine)
    if refusal is None:
        CHECKS[check].run(ROWS[row], engine)
        return
    record_property("refused", refusal)
    with pytest.raises(LSTMKitError, match=re.escape(refusal)):
        call_what_is_refused(ROWS[row], CHECKS[check], engine)


def test_reference__never_refuses__a_layer() -> None:
    """It is the judge: what it refused, nobody would be judged by."""
    asked = [(row, check) for row in ROWS.values() for check in CHECKS.values() if not check.served]
    assert not [refusal for row, check in asked if (refusal := find_refusal(row, check, "reference"))]


def test_rows__equal_catalog_and_options() -> None:
    """Every cell plain, and every option of every cell changed in some row."""
    specs = [row.spec for row in ROWS.values()]
    for cell, entry in CATALOG.items():
        if entry.driver == "tree":
            continue
        own = [spec for spec in specs if spec.cell == cell]
        for option in set(entry.options) - {"variant"}:
            assert len({spec.option(option) for spec in own}) > 1 or option == "kernel_size", f"{cell} {option}"
    for option in fields(Variant):
        assert any(option.name in spec.variant.changed for spec in specs), option.name
    assert {*LAYER_NORMS} <= {spec.variant.layer_norm for spec in specs}
    assert {*ACTIVATIONS} == {name for spec in specs for name in spec.activations}
    drawn = {name for row in ROWS.values() for name in row.rates}
    assert drawn == {*Rates._fields, "dropout"}
