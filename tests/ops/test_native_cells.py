"""The native core's cells beyond the contract's sizes: every instruction set, bfloat16, few rows and many, threads."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.family import ROWS, Row, gradients, leaves, run
from helpers.hostile import Hostile, close, distance, hostile, widened
from helpers.specs import rates, variants
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lstmkit.core import native_status
from lstmkit.ops import Ways, cell_layer, describe, native_available, native_core, run_cell_layer
from lstmkit.ops.cell_call import CellLayer
from lstmkit.ops.choice import NATIVE_ACTIVATIONS, NATIVE_CELLS
from lstmkit.spec import CellSpec, ShapeError, Variant

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

SETS = [name for name in native_status().compiled if name in native_status().found]
SCANNED = ("minlstm", "mingru", "mlstm")


def is_native(row: Row) -> bool:
    return row.spec.cell in NATIVE_CELLS and set(row.spec.activations) <= {*NATIVE_ACTIVATIONS}


NATIVE_ROWS = {name: row for name, row in ROWS.items() if is_native(row)}
STEPPED = {name: row for name, row in NATIVE_ROWS.items() if row.spec.cell not in SCANNED}
SOME = [
    "lstm peepholes",
    "lstm norm-ba",
    "lstm norm-per_gate_feedback",
    "lstm all-drawn",
    "lstm gate-recurrence",
    "gru",
    "gru reset-before",
    "multiplicative",
    "mogrifier",
    "mogrifier rank",
    "on_lstm",
    "slstm heads",
    "janet",
]


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    native_core.instruction_set = request.param
    yield request.param
    native_core.instruction_set = ""


def sized(row: Row, inputs: int, units: int, **options: Any) -> CellSpec:
    sizes = tuple(units + k for k in range(len(row.spec.layer_sizes) - 1, -1, -1)) if row.spec.layer_sizes else ()
    projection = units // 2 if row.spec.proj_size else 0
    return replace(
        row.spec,
        input_size=inputs,
        hidden_size=units,
        layer_sizes=sizes,
        proj_size=projection,
        bidirectional=True,
        **options,
    )


def calm(case: Hostile) -> Hostile:
    """Weights that leave the gates of long sums open, behind which no bug would be seen."""
    scale = 1.5 / case.spec.hidden_size**0.5
    return replace(case, parameters={name: scale * value for name, value in case.parameters.items()})


def far_from_zero(case: Hostile, scale: float) -> Hostile:
    """Biases that shut and open gates of a step, each its own."""
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: value + scale * torch.randn(value.shape, generator=generator).to(value.dtype)
        for name, value in case.parameters.items()
        if name.startswith("bias")
    }
    return replace(case, parameters=case.parameters | moved)


def everything(row: Row, case: Hostile, engine: str) -> tuple[Tensor, ...]:
    """Values and all gradients."""
    layer = row.build(case, engine)
    x, hx = leaves(case.x, case.hx)
    results = run(layer, case, x, hx, lengths=case.lengths, resets=case.resets)
    return (*results, *gradients(results, [x, *hx, *layer.parameters()]))


@pytest.mark.parametrize("row", STEPPED.values(), ids=STEPPED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_cell__matches_reference__every_instruction_set(row: Row, dtype: torch.dtype, instruction_set: str) -> None:
    case = calm(hostile(sized(row, 5, 18), batch=7, dtype=dtype))
    for ours, theirs in zip(everything(row, case, "native"), everything(row, case, "reference"), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize(
    "gates",
    [{"forget_gate": "coupled"}, {"input_gate": "one", "output_gate": "one"}, {"input_gate": "coupled"}],
    ids=lambda gates: " ".join(gates),
)
@pytest.mark.parametrize("name", ["lstm norm-ba", "lstm norm-per_gate_feedback"])
def test_layer_norm__matches_reference__gates_without_weights(
    name: str, gates: dict[str, str], instruction_set: str
) -> None:
    """What has no weights is neither in a mean nor in a variance; the last of five rows takes its step alone."""
    row = NATIVE_ROWS[name]
    row = replace(row, spec=replace(row.spec, variant=replace(row.spec.variant, **gates)))
    case = calm(hostile(sized(row, 5, 18), batch=5))
    for ours, theirs in zip(everything(row, case, "native"), everything(row, case, "reference"), strict=True):
        close(ours, theirs)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(variants(projection=True), rates(), st.sampled_from(SETS))
def test_gate_recurrence__matches_reference__beside_any_options(
    variant: Variant, drawn: dict[str, float], instruction_set: str
) -> None:
    assume(variant.free_gates)
    spec = CellSpec(3, 4, 2, proj_size=2, variant=replace(variant, full_gate_recurrence=True))
    assume(set(spec.activations) <= {*NATIVE_ACTIVATIONS})
    row = Row(spec, drawn, training=bool(drawn))
    case = calm(hostile(sized(row, 5, 18), batch=3))
    native_core.instruction_set = instruction_set
    try:
        ours = everything(row, case, "native")
    finally:
        native_core.instruction_set = ""
    for left, right in zip(ours, everything(row, case, "reference"), strict=True):
        close(left, right)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "units"), [(60, 1, 3, 96), (9, 3, 70, 130), (3, 60, 4, 33), (2, 300, 2, 20)]
)
def test_cell__matches_reference__few_rows_and_many(name: str, steps: int, batch: int, inputs: int, units: int) -> None:
    """Inputs of several steps at once, teams that divide the units, several blocks of rows; on two threads."""
    before = torch.get_num_threads()
    row = NATIVE_ROWS[name]
    case = calm(
        hostile(
            sized(row, inputs, units, num_heads=2 if name == "slstm heads" and units % 2 == 0 else 1),
            steps=steps,
            batch=batch,
        )
    )
    try:
        torch.set_num_threads(2)
        ours = everything(row, case, "native")
    finally:
        torch.set_num_threads(before)
    for left, right in zip(ours, everything(row, case, "reference"), strict=True):
        close(left, right)


@pytest.mark.parametrize("row", STEPPED.values(), ids=STEPPED)
def test_cell__matches_wide_reference__bfloat16(row: Row) -> None:
    """Its own numbers in float64: within five hundredths, or within twice what the equations in bfloat16 are off."""
    case = calm(hostile(sized(row, 5, 18), batch=7, dtype=torch.bfloat16))
    right = everything(row, widened(case), "reference")
    for ours, theirs, exact in zip(
        everything(row, case, "native"), everything(row, case, "reference"), right, strict=True
    ):
        assert ours.dtype == torch.bfloat16
        error, usual = (
            float((value.detach().double() - exact.detach()).norm() / exact.detach().norm().clamp(min=1.0))
            for value in (ours, theirs)
        )
        assert error < max(0.05, 2 * usual)


@pytest.mark.parametrize("scale", [100.0, 1e4])
@pytest.mark.parametrize("row", STEPPED.values(), ids=STEPPED)
def test_cell__matches_wide_reference__gates_far_from_zero(row: Row, scale: float, instruction_set: str) -> None:
    """Where large numbers are rounded to much, the equations in float32 are off too."""
    case = far_from_zero(calm(hostile(sized(row, 5, 18), steps=9, batch=7, dtype=torch.float32)), scale)
    right = everything(row, widened(case), "reference")
    ours, theirs = (distance(everything(row, case, engine), right) for engine in ("native", "reference"))
    assert theirs < 1e-3
    # In 2,100 draws by hand at most 11 times as much and a millionth.
    assert ours <= 1e-5 + 8 * theirs


@pytest.mark.parametrize("row", STEPPED.values(), ids=STEPPED)
def test_cell__preserves_other_rows__beside_nan(row: Row) -> None:
    """What one row holds reaches neither numbers nor gradients of the others, which share its tiles."""
    case = calm(hostile(sized(row, 5, 18), batch=7))
    spoilt = replace(case, x=case.clean.clone(), lengths=torch.full((7,), len(case.clean)))
    whole = replace(spoilt, x=case.clean)
    spoilt.x[1, 3] = torch.nan
    layer, others = row.build(case, "native"), [0, 1, 2, 4, 5, 6]
    found = []
    for own in (whole, spoilt):
        x, hx = leaves(own.x, own.hx)
        output, *state = run(layer, own, x, hx, lengths=own.lengths)
        grads = gradients(tuple(value[:, others] for value in (output, *state)), [x, *hx])
        found.append([value[:, others] for value in (output, *state, *grads)])
        assert own is whole or output[1, 3].isnan().any()
    assert all(torch.equal(left, right) for left, right in zip(*found, strict=True))


def test_core__rejects_wrong_shapes__at_the_op() -> None:
    """The core takes addresses: what does not fit must be seen before."""
    spec = CellSpec(3, 4, cell="gru")
    good: dict[str, Any] = {
        "x": torch.randn(5, 2, 3),
        "state": [torch.randn(1, 2, 4)],
        "weights": [torch.randn(12, 3), torch.randn(12, 4), torch.randn(12), torch.randn(12)],
        "lengths": None,
        "resets": None,
    }
    bad = [
        ({"x": torch.randn(5, 2, 4)}, r"input must have shape \(T, B, 3\)"),
        ({"x": torch.randn(5, 3)}, "input must have shape"),
        ({"state": [torch.randn(1, 3, 4)]}, r"h must have shape \(1, 2, 4\), not \(1, 3, 4\)"),
        ({"weights": [torch.randn(12, 2), *good["weights"][1:]]}, r"weight_ih must have shape \(12, 3\)"),
        ({"weights": [good["weights"][0], torch.randn(8, 4), *good["weights"][2:]]}, "weight_hh must have shape"),
        ({"weights": [*good["weights"][:3], torch.randn(12).double()]}, "bias_hh must be torch.float32"),
        ({"weights": good["weights"][:3]}, "not 4 tensors"),
        ({"lengths": torch.tensor([1, 2, 3])}, "lengths must have shape"),
        ({"resets": torch.zeros(5, 3, dtype=torch.bool)}, "resets must have shape"),
    ]
    run_cell_layer(CellLayer(spec, **good), Ways("native"))
    for change, message in bad:
        given = good | change
        with pytest.raises(ShapeError, match=message):
            run_cell_layer(CellLayer(spec, **given), Ways("native"))
        with pytest.raises(ShapeError, match=message):
            cell_layer(describe(spec), *given.values(), [], "native", False, False, 0)
