"""The engine native against the float64 reference, on every instruction set that this machine has."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.hostile import TOLERANCES, distance, hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lstmkit import nn
from lstmkit.core import native_module, native_status
from lstmkit.ops import lstm_layer, native, native_available, native_core, run_native_layer
from lstmkit.spec import CellSpec

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

status = native_status()
SETS = [name for name in status.compiled if name in status.found]
VALUES, GRADIENTS = 1e-6, 1e-5
DOUBLE = 1e-14
ROUNDED_VALUES, ROUNDED_GRADIENTS = 1e-2, 1.5e-2


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from forced(request.param)


def forced(name: str) -> Iterator[str]:
    native_core.instruction_set = name
    try:
        yield name
    finally:
        native_core.instruction_set = ""


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def everything(engine: str, case: Any, dtype: torch.dtype, *, masks: bool = True) -> tuple[list[Tensor], list[Tensor]]:
    """All five outputs, and all gradients of a sum in which every number has a weight of its own."""
    spec = case.spec
    layer = nn.LSTM(
        spec.input_size,
        spec.hidden_size,
        bias=spec.bias,
        bidirectional=spec.bidirectional,
        proj_size=spec.proj_size,
        engine=engine,
    )
    layer.load_state_dict(case.parameters)
    layer = layer.to(dtype)
    x, h, c = (value.to(dtype).detach().requires_grad_() for value in (case.x, *case.hx))
    extras = {"lengths": case.lengths, "resets": case.resets} if masks else {}
    output, state, trace = layer(x, (h, c), return_cells=True, return_gates=True, **extras)
    outputs = [output, *state, *trace.cells, *trace.gates[0].values()]
    generator = torch.Generator().manual_seed(5)
    draws = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(case.x.dtype) for y in outputs]
    weights = [draw.to(y.dtype) for draw, y in zip(draws, outputs, strict=True)]
    total = sum((y * w).sum() for y, w in zip(outputs, weights, strict=True))
    return outputs, list(torch.autograd.grad(total, [x, h, c, *layer.parameters()]))  # pyright: ignore


def near(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for left, right in zip(actual, expected, strict=True):
        scale = max(1.0, float(right.detach().abs().max()))
        torch.testing.assert_close(left.double(), right.double(), rtol=0.0, atol=tolerance * scale)


def matches_float64(case: Any, *, masks: bool = True) -> None:
    """Within 1e-6 of the scale and 1e-5 for gradients; rounding grows with the square root of a sum's length."""
    outputs, gradients = everything("native", case, torch.float32, masks=masks)
    expected, expected_gradients = everything("reference", case, torch.float64, masks=masks)
    length = max(1.0, (case.spec.input_size + case.spec.hidden_size) / 64) ** 0.5
    near(outputs, expected, VALUES * length)
    near(gradients, expected_gradients, GRADIENTS * length)


def tame(case: Any, **changes: Any) -> Any:
    """Weights at which pre-activations are of the size of 1, whatever the number of units."""
    fan = (case.spec.input_size + case.spec.hidden_size) ** 0.5
    parameters = {name: value / fan if "weight" in name else value for name, value in case.parameters.items()}
    return replace(case, parameters=parameters, **changes)


@st.composite
def hostile_cases(draw: st.DrawFn, dtype: torch.dtype = torch.float32) -> Any:
    units = draw(st.integers(1, 40))
    spec = CellSpec(
        input_size=draw(st.integers(1, 40)),
        hidden_size=units,
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        proj_size=draw(st.integers(0, units - 1)),
    )
    steps, batch, seed = draw(st.integers(1, 9)), draw(st.integers(1, 40)), draw(st.integers(0, 99))
    return hostile(spec, steps=steps, batch=batch, dtype=dtype, seed=seed)


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=12, deadline=None)
@given(hostile_cases(), st.booleans())
def test_native__matches_float64__any_size(name: str, case: Any, masks: bool) -> None:
    for _ in forced(name):
        matches_float64(tame(case) if masks else tame(case, x=case.clean), masks=masks)


@pytest.mark.parametrize(("steps", "batch", "inputs", "units"), [(5, 215, 9, 33), (13, 100, 5, 65), (6, 9, 200, 200)])
def test_native__matches_float64__many_blocks_and_threads(
    steps: int, batch: int, inputs: int, units: int, instruction_set: str
) -> None:
    spec = CellSpec(inputs, units, bidirectional=True)
    matches_float64(tame(hostile(spec, steps=steps, batch=batch, dtype=torch.float32)))


def run_equal_steps(engine: str, case: Any, dtype: torch.dtype) -> list[Tensor]:
    layer = nn.LSTM(case.spec.input_size, case.spec.hidden_size, engine=engine)
    layer.load_state_dict(case.parameters)
    with torch.no_grad():
        output, (_, c) = layer.to(dtype)(case.clean[:1].expand_as(case.clean).to(dtype))
    return [output, c]


def test_native__matches_float64__equal_steps(instruction_set: str) -> None:
    """The hardest case: steps that are alike are rounded alike, and a cell state adds it up."""
    for seed in range(60):
        case = tame(hostile(CellSpec(100, 100), steps=12, batch=8, dtype=torch.float32, seed=seed))
        case = replace(case, parameters={name: 1.5 * value for name, value in case.parameters.items()})
        right = run_equal_steps("reference", case, torch.float64)
        # At most 1.7e-6, where the equations by torch's operations are off by up to 2.6e-6.
        assert distance(run_equal_steps("native", case, torch.float32), right) <= 2e-6


@pytest.mark.parametrize("projection", [0, 70, 131])
@pytest.mark.parametrize(("steps", "batch", "units"), [(20, 1, 140), (12, 3, 131), (7, 50, 150)])
def test_native__matches_float64__units_or_rows_divided(
    steps: int, batch: int, units: int, projection: int, instruction_set: str
) -> None:
    """Few rows and many units, where the threads divide the units and meet at every step; and where a plan may not."""
    if projection >= units:
        projection = units - 1
    spec = CellSpec(21, units, bidirectional=batch == 3, proj_size=projection)
    matches_float64(tame(hostile(spec, steps=steps, batch=batch, dtype=torch.float32)))


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=8, deadline=None)
@given(hostile_cases(torch.float64))
def test_native__matches_reference__float64(name: str, case: Any) -> None:
    for _ in forced(name):
        outputs, gradients = everything("native", tame(case), torch.float64)
        expected, expected_gradients = everything("reference", tame(case), torch.float64)
        assert all(value.dtype == torch.float64 for value in (*outputs, *gradients))
        near(outputs, expected, DOUBLE)
        near(gradients, expected_gradients, 10 * DOUBLE)


@pytest.mark.parametrize(("steps", "batch", "units"), [(5, 215, 33), (40, 70, 40), (6, 9, 200)])
def test_native__matches_reference__float64_many_blocks_and_threads(steps: int, batch: int, units: int) -> None:
    case = tame(hostile(CellSpec(9, units, bidirectional=True), steps=steps, batch=batch))
    (outputs, gradients), expected = (everything(engine, case, torch.float64) for engine in ("native", "reference"))
    near(outputs, expected[0], DOUBLE)
    near(gradients, expected[1], 10 * DOUBLE)


def matches_float64_rounded(case: Any, tolerance: float = ROUNDED_GRADIENTS) -> None:
    """Numbers in bfloat16 against the same numbers in float64."""
    outputs, gradients = everything("native", case, torch.bfloat16)
    expected, expected_gradients = everything("reference", case, torch.float64)
    assert all(value.dtype == torch.bfloat16 for value in (*outputs, *gradients))
    near(outputs, expected, ROUNDED_VALUES)
    near(gradients, expected_gradients, tolerance)


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=12, deadline=None)
@given(hostile_cases(torch.bfloat16))
def test_native__matches_float64__bfloat16(name: str, case: Any) -> None:
    for _ in forced(name):
        # In sums of a few large terms that cancel each other, the roundings of the terms (2^-9 each) do not.
        matches_float64_rounded(tame(case), TOLERANCES[torch.bfloat16])


@pytest.mark.parametrize("projection", [0, 33])
@pytest.mark.parametrize(("steps", "batch", "units"), [(5, 215, 41), (20, 1, 140), (12, 3, 131), (6, 9, 200)])
def test_native__matches_float64__bfloat16_rows_or_units_divided(
    steps: int, batch: int, units: int, projection: int, instruction_set: str
) -> None:
    spec = CellSpec(21, units, bidirectional=batch == 3, proj_size=projection)
    matches_float64_rounded(tame(hostile(spec, steps=steps, batch=batch, dtype=torch.bfloat16)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_native__never_reads__beside_odd_rows(dtype: torch.dtype, instruction_set: str) -> None:
    """Two numbers at a time: the neighbour of the last one belongs to somebody else."""
    layer = nn.LSTM(5, 7, bidirectional=True, engine="native", dtype=dtype)

    def run(x: Tensor) -> tuple[Tensor, ...]:
        output, state = layer(x)
        return output, *state, *torch.autograd.grad(output.sum(), [x, *layer.parameters()])

    clean = torch.randn(6, 3, 5, dtype=dtype, requires_grad=True)
    around = torch.full((6, 3, 7), float("nan"), dtype=dtype)
    around[:, :, 1:6] = clean.detach()
    among_nan = around[:, :, 1:6].requires_grad_()
    assert all(torch.equal(a, b) for a, b in zip(run(clean), run(among_nan), strict=True))


@pytest.mark.parametrize("bias", [True, False])
def test_native__matches_finite_differences(bias: bool, instruction_set: str) -> None:
    case = hostile(CellSpec(2, 3, bias=bias, bidirectional=True), steps=4)
    h, c = case.hx

    def run(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        return run_native_layer(x, h, c, weights, case.lengths, case.resets, trace=True)

    inputs = [value.detach().clone().requires_grad_() for value in (case.clean, h, c, *case.parameters.values())]
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("threads", [1, 2])
def test_native__equals_itself__for_a_number_of_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    case = hostile(CellSpec(20, 40), steps=9, batch=150, dtype=torch.float32)
    (outputs, gradients), again = (everything("native", case, torch.float32) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip([*outputs, *gradients], [*again[0], *again[1]], strict=True))


def test_native__preserves_values__one_thread_or_two() -> None:
    case = hostile(CellSpec(20, 40), steps=9, batch=150, dtype=torch.float32)
    two = everything("native", case, torch.float32)
    torch.set_num_threads(1)
    one = everything("native", case, torch.float32)
    near(one[0], two[0], VALUES)
    near(one[1], two[1], GRADIENTS)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_native__never_leaks__from_row_to_row(poison: float, instruction_set: str) -> None:
    case = hostile(CellSpec(5, 19), steps=6, batch=17, dtype=torch.float32)
    others = torch.arange(17) != 4

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        layer = nn.LSTM(5, 19, engine="native")
        layer.load_state_dict(case.parameters)
        x = x.clone().requires_grad_()
        output, _ = layer(x)
        return output[:, others], torch.autograd.grad(output.sum(), x)[0][:, others]

    dirty = case.clean.clone()
    dirty[2:, 4] = poison
    assert all(torch.equal(a, b) for a, b in zip(run(case.clean), run(dirty), strict=True))


def test_native__preserves_nan__of_its_own_row(instruction_set: str) -> None:
    x = torch.zeros(4, 3, 2)
    x[1, 1, 0] = torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32)[0]
    output, (h, c) = nn.LSTM(2, 5, engine="native")(x)
    assert output[1:, 1].isnan().all()
    assert h[0, 1].isnan().all()
    assert c[0, 1].isnan().all()
    assert output[:, [0, 2]].isfinite().all()


@pytest.mark.parametrize("layout", ["batch-first", "strided features", "expanded", "sliced"])
def test_native__equals_contiguous__any_layout(layout: str) -> None:
    torch.manual_seed(1)
    x = {
        "batch-first": torch.randn(9, 5, 6).transpose(0, 1),
        "strided features": torch.randn(5, 9, 12)[:, :, ::2],
        "expanded": torch.randn(5, 1, 6).expand(5, 9, 6),
        "sliced": torch.randn(10, 12, 8)[::2, 1:10, 2:],
    }[layout]
    layer = nn.LSTM(6, 11, bidirectional=True, engine="native")
    assert torch.equal(layer(x)[0], layer(x.contiguous())[0])


def test_native__matches_second_gradient_of_reference() -> None:
    case = hostile(CellSpec(3, 5, bidirectional=True), dtype=torch.float32)
    found: list[list[Tensor]] = []
    for engine, dtype in (("native", torch.float32), ("reference", torch.float64)):
        layer = nn.LSTM(3, 5, bidirectional=True, engine=engine)
        layer.load_state_dict(case.parameters)
        layer = layer.to(dtype)
        x = case.x.to(dtype).requires_grad_()
        output, _ = layer(x, lengths=case.lengths)
        first = torch.autograd.grad(output.pow(3).sum(), [x, *layer.parameters()], create_graph=True)
        total = sum(grad.nan_to_num().square().sum() for grad in first)
        found.append(list(torch.autograd.grad(total, [x, *layer.parameters()])))  # pyright: ignore
    near(found[0], found[1], GRADIENTS)


@pytest.mark.parametrize("how", ["once", "batched", "again"])
def test_gradients_of_float32_weights__match_those_of_rounded_ones__autocast(how: str) -> None:
    found: list[list[Tensor]] = []
    for autocast in (True, False):
        torch.manual_seed(1)
        layer, x = nn.LSTM(3, 5, 2, bidirectional=True, engine="native"), torch.randn(6, 4, 3).bfloat16()
        layer = layer if autocast else layer.bfloat16()
        inputs = [x.requires_grad_(), *layer.parameters()]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output, _ = layer(x, lengths=[6, 2, 4, 1])
        upstream = torch.ones(2, *output.shape, dtype=output.dtype)
        many = how == "batched"
        grads = torch.autograd.grad(
            output, inputs, upstream if many else upstream[0], create_graph=how == "again", is_grads_batched=many
        )
        if how == "again":
            grads = torch.autograd.grad(sum(grad.square().sum() for grad in grads), inputs)  # pyright: ignore
        assert [grad.dtype for grad in grads] == [each.dtype for each in inputs]
        found.append(list(grads))
    rounded = [grad.bfloat16() for grad in found[0]]
    if how == "once":
        assert all(torch.equal(a, b) for a, b in zip(rounded, found[1], strict=True))
        assert any(not torch.equal(a, b.float()) for a, b in zip(found[0][1:], found[1][1:], strict=True))
    near(rounded, found[1], ROUNDED_GRADIENTS)


def test_native__equals_op__outside_and_inside_a_graph() -> None:
    case = hostile(CellSpec(3, 5, bidirectional=True), dtype=torch.float32)
    arguments = (case.x, *case.hx, [*case.parameters.values()], case.lengths, case.resets)
    eager, op = run_native_layer(*arguments, trace=True), lstm_layer(*arguments, "native", True, 0, None)
    assert all(torch.equal(a, b) for a, b in zip(eager, op, strict=True))


def test_native__never_computes__unwanted_gradients() -> None:
    x = torch.randn(5, 3, 4)
    layer = nn.LSTM(4, 6, engine="native")
    expected = torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))
    wanted = x.clone().requires_grad_()
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    layer(wanted)[0].sum().backward()
    layer.requires_grad_(True)
    both = torch.autograd.grad(layer(wanted)[0].sum(), [wanted, *layer.parameters()])
    assert wanted.grad is not None
    assert torch.equal(wanted.grad, both[0])
    assert all(torch.equal(a, b) for a, b in zip(expected, both[1:], strict=True))


def test_native__writes_every_output__memory_used_before() -> None:
    """Large tensors come out of a pool; what an earlier tensor left there must not show."""
    lengths = torch.linspace(1, 40, 70).long()
    layer, x = nn.LSTM(8, 40, engine="native"), torch.randn(40, 70, 8, requires_grad=True)

    def run() -> tuple[Tensor, ...]:
        output, (h, c), trace = layer(x, lengths=lengths, return_cells=True, return_gates=True)
        return output, h, c, trace.cells[0], *trace.gates[0].values(), *torch.autograd.grad(output.sum(), [x])

    first = [value.clone() for value in run()]
    for value in run():
        value.detach().fill_(float("nan"))
    assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


def test_empty__never_shares__memory_in_use() -> None:
    core: Any = native_module()
    held = [torch.from_dlpack(core.empty([1000 + 100 * k])) for k in range(30)]
    for k, value in enumerate(held):
        value.fill_(k)
    assert all((value == k).all() for k, value in enumerate(held))
    assert all(value.data_ptr() % 64 == 0 for value in held)
    core.release_memory()


@pytest.mark.parametrize("batch", [0, 1])
def test_native__matches_reference__no_or_one_row(batch: int) -> None:
    layer = nn.LSTM(3, 5, engine="native")
    x = torch.randn(4, batch, 3, requires_grad=True)
    output, (h, c) = layer(x)
    output.sum().backward()
    assert output.shape == (4, batch, 5)
    assert h.shape == c.shape == (1, batch, 5)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    assert (layer.weight_ih_l0.grad == 0).all() == (batch == 0)


def test_native__preserves_mode_of_the_caller__denormals() -> None:
    layer = nn.LSTM(3, 5, engine="native")
    layer(torch.randn(4, 2, 3))
    assert (torch.tensor([1e-40]) * 1.0).item() != 0.0


def _run_plainly(case: Any) -> list[bytes]:
    """Forward and backward by the core alone: torch's own threads would hang in a forked child."""
    weights = list(case.parameters.values())
    h, c = case.hx
    arguments = (case.x, h, c, weights, case.lengths, case.resets)
    outputs = native.run_native(*arguments, trace=True)
    upstream = [outputs[0], *outputs[1:3], None, None]
    saved = [outputs[0], *outputs[3:]]
    gradients = native.differentiate_native(upstream, *arguments, saved, wants=native.Wants())
    return [value.numpy().tobytes() for value in (*outputs, *gradients) if value is not None]


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_native__equals_parent__in_a_forked_child() -> None:
    """A team of threads does not survive a fork; a DataLoader's worker that starts one would hang."""
    case = hostile(CellSpec(8, 40), steps=20, batch=70, dtype=torch.float32)
    expected = _run_plainly(case)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(_run_plainly(case) == expected))
    child.start()
    child.join(20)
    if child.is_alive():
        child.kill()
        pytest.fail("the child hangs")
    assert queue.get(timeout=5)


def test_native__matches_itself__several_python_threads() -> None:
    layer, x = nn.LSTM(8, 40, engine="native"), torch.randn(40, 70, 8)
    with torch.no_grad():
        expected = layer(x)[0]
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _: layer(x)[0], range(12)):
                near([found], [expected], VALUES)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 1, 1, 1, 1), "at least one step"),
        ((1, -1, 1, 1, 1), "no negative size"),
        ((1, 1, 1, 1, 1), "null"),
        ((1, 1, 1, 2, 1), "as many outputs as units"),
    ],
)
def test_core__rejects_impossible_case(sizes: tuple[int, ...], message: str) -> None:
    core: Any = native_module()
    layer = (sizes, None, None, None, (0,) * 7, 0, 0, False, None, (None,) * 4)
    direction = (layer, None, None, None, (None, None, 0, 0))
    with pytest.raises(ValueError, match=message):
        core.lstm_forward([direction], 1)


@pytest.mark.parametrize("count", [0, 3])
def test_core__rejects_number_of_directions(count: int) -> None:
    core: Any = native_module()
    layer = ((1, 1, 1, 1, 1), None, None, None, (0,) * 7, 0, 0, False, None, (None,) * 4)
    with pytest.raises(ValueError, match="expected 1 or 2 directions"):
        core.lstm_forward([(layer, None, None, None, (None, None, 0, 0))] * count, 1)


def test_core__rejects_unknown_precision() -> None:
    core: Any = native_module()
    with pytest.raises(ValueError, match="no precision is called 'int8'; there are: float32, float64, bfloat16"):
        core.empty([3], "int8")
