"""minLSTM, minGRU and mLSTM on the native core, beside their step-by-step form, which is the equations."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.hostile import Hostile, close, distance, hostile, widened
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from lstmkit import nn
from lstmkit.core import native_status
from lstmkit.ops import native_available, native_core
from lstmkit.spec import CellSpec, EngineError, ShapeError

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

LAYERS = {"minlstm": nn.MinLSTM, "mingru": nn.MinGRU, "mlstm": nn.MLSTM}
SETS = [name for name in native_status().compiled if name in native_status().found]


def sizes(cell: str, inputs: int, units: int, heads: int = 1, **options: Any) -> CellSpec:
    return CellSpec(inputs, units, cell=cell, **({"num_heads": heads} if cell == "mlstm" else {}), **options)


# Beside odd sizes: whole vectors and blocks of them, also in each head, 64 steps and one step more, many rows.
CASES: dict[str, tuple[CellSpec, int, int]] = {
    f"{cell}-{name}": (sizes(cell, *numbers, **options), steps, batch)
    for cell in LAYERS
    for name, numbers, options, steps, batch in [
        ("odd", (3, 6, 2), {}, 5, 3),
        ("one", (1, 1, 1), {}, 1, 1),
        ("border", (5, 4, 4), {}, 65, 4),
        ("long", (2, 17, 1), {"bidirectional": True}, 130, 3),
        ("whole-blocks", (64, 64, 1), {"bias": False}, 7, 4),
        ("wide", (70, 66, 1), {}, 64, 2),
        ("many-rows", (3, 5, 1), {}, 3, 140),
        ("L2-bi", (3, 6, 3), {"num_layers": 2, "bidirectional": True}, 9, 3),
        ("half-vectors", (5, 16, 4), {}, 3, 2),
        ("vectors", (3, 32, 4), {}, 70, 2),
        ("two-vectors", (3, 32, 2), {}, 66, 3),
        ("halves-together", (9, 32, 8), {"bidirectional": True}, 130, 3),
        ("small-halves-together", (2, 8, 4), {"bias": False}, 67, 2),
        ("odd-halves", (3, 24, 3), {}, 66, 2),
    ]
}
EVERY = pytest.mark.parametrize(("spec", "steps", "batch"), CASES.values(), ids=CASES)
SMALL = pytest.mark.parametrize("spec", [sizes(cell, 3, 6, 2) for cell in LAYERS], ids=LAYERS)


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    native_core.instruction_set = request.param
    yield request.param
    native_core.instruction_set = ""


def make(case: Hostile, **options: Any) -> Any:
    spec = case.spec
    own = {name: getattr(spec, name) for name in spec.entry.options}
    layer = LAYERS[spec.cell](
        spec.input_size,
        spec.hidden_size,
        spec.num_layers,
        bias=spec.bias,
        bidirectional=spec.bidirectional,
        dtype=case.clean.dtype,
        **own,
        **options,
    )
    layer.load_state_dict(case.parameters)
    return layer


def one(states: tuple[Tensor, ...]) -> Any:
    return states if len(states) > 1 else states[0]


def flat(result: Any) -> tuple[Tensor, ...]:
    output, state = result[:2]
    return output, *(state if isinstance(state, tuple) else (state,))


def train(layer: Any, x: Tensor, hx: tuple[Tensor, ...], **masks: Any) -> list[Tensor]:
    """Outputs, and the gradients of a sum in which every number has a weight of its own."""
    x, hx = x.detach().clone().requires_grad_(), tuple(value.detach().clone().requires_grad_() for value in hx)
    outputs = flat(layer(x, one(hx), **masks))
    generator = torch.Generator().manual_seed(1)
    total: Any = sum(
        (y * torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype)).sum() for y in outputs
    )
    return [*(y.detach() for y in outputs), *torch.autograd.grad(total, [x, *hx, *layer.parameters()])]


def train_wider(case: Hostile, **masks: Any) -> list[Tensor]:
    """The same by steps in float64."""
    wide = widened(case)
    return train(make(wide, form="recurrent"), wide.clean, wide.hx, **masks)


def compare(case: Hostile, layer: Any, twin: Any, **masks: Any) -> None:
    assert layer.explain_engine(case.x).engine == "native"
    assert twin.explain_engine(case.x).engine == "reference"
    ours, theirs = (train(chosen, case.x if masks else case.clean, case.hx, **masks) for chosen in (layer, twin))
    for n, (left, right) in enumerate(zip(ours, theirs, strict=True)):
        close(left, right, f"result {n}")
    if masks:
        assert (ours[len(case.hx) + 1][case.x.isnan()] == 0).all()


@EVERY
def test_native_scan__matches_steps__values_and_all_gradients(
    spec: CellSpec, steps: int, batch: int, instruction_set: str
) -> None:
    case = hostile(spec, steps=steps, batch=batch)
    layer, twin = make(case), make(case, form="recurrent")
    compare(case, layer, twin, lengths=case.lengths, resets=case.resets)
    compare(case, layer, twin)


@SMALL
def test_native_scan__matches_wider_steps__float32(spec: CellSpec, instruction_set: str) -> None:
    """The oracle computes in float64: what float32 steps are off by must not count."""
    case = hostile(spec, steps=70, dtype=torch.float32)
    masks = {"lengths": case.lengths, "resets": case.resets}
    ours, theirs = train(make(case), case.x, case.hx, **masks), train_wider(case, **masks)
    for left, right in zip(ours, theirs, strict=True):
        assert left.dtype == torch.float32
        # The gradient of an mLSTM's forget gate is a difference of sums over 64 steps: at most 3.2e-5 in 12 draws, as
        # in the chunks of the equations; of the others 6e-7.
        tolerance = 5e-5 if spec.cell == "mlstm" else 5e-6
        torch.testing.assert_close(left.double(), right, rtol=0.0, atol=tolerance * max(1.0, float(right.abs().max())))


@pytest.mark.parametrize("bias", [30.0, -30.0, 300.0, -300.0, 1e4, -1e4])
@pytest.mark.parametrize("cell", LAYERS)
def test_native_scan__matches_wider_steps__extreme_gates(cell: str, bias: float, instruction_set: str) -> None:
    """Large gates are rounded to much, and large input gates divide by little: so far off are the equations too."""
    case = hostile(sizes(cell, 3, 4, 2), steps=70, dtype=torch.float32)
    gates = case.parameters["bias_if_l0" if cell == "mlstm" else "bias_ih_l0"]
    gates[: {"mlstm": 4, "minlstm": 8, "mingru": 4}[cell]] += bias
    right = train_wider(case)
    ours, steps, chunks = (
        distance(train(make(case, **options), case.clean, case.hx), right)
        for options in ({}, {"form": "recurrent"}, {"engine": "reference"})
    )
    assert steps < 0.1
    assert chunks < 0.1
    assert ours <= 1e-6 + 4 * max(steps, chunks)


@pytest.mark.parametrize("bias", [-1.0, -1.4, -2.0, -4.0, -8.0])
def test_native_scan__matches_wider_steps__mlstm_that_forgets(bias: float, instruction_set: str) -> None:
    """From chunk to chunk the scale of a memory may change by more than a float32 can hold."""
    case = hostile(sizes("mlstm", 3, 4, 2), steps=200, dtype=torch.float32)
    case.parameters["bias_if_l0"][2:] += bias
    right = train_wider(case)
    # As above: here and in 12 more draws at most 3.3e-5, the equations' chunks 1.5e-5, with medians alike.
    assert distance(train(make(case), case.clean, case.hx), right) <= 5e-5


@pytest.mark.parametrize(
    ("engine", "form"),
    [("native", "chunkwise"), *[("reference", form) for form in ("chunkwise", "parallel", "recurrent")]],
)
def test_mlstm__matches_wider_steps__memory_scaled_beyond_float32(engine: str, form: str) -> None:
    """What pads a chunk asks with zeros and is divided by ``exp(-m)``, which would be zero."""
    case = hostile(sizes("mlstm", 3, 4, 2), steps=70, dtype=torch.float32)
    case.parameters["bias_if_l0"][:2] += 110
    right = train_wider(case)
    # The steps in float32 are off by 7.5e-4, where gates are large and little divides.
    assert distance(train(make(case, engine=engine, form=form), case.clean, case.hx), right) <= 1e-3


@pytest.mark.parametrize(("units", "heads", "batch"), [(256, 1, 5), (32, 4, 20)])
def test_native_scan__matches_steps__any_rows_at_once(units: int, heads: int, batch: int) -> None:
    """Rows go back side by side: one where its memory fills the cache, else several, and more than those."""
    torch.manual_seed(0)
    x, slope = torch.randn(70, batch, 3).double(), torch.randn(70, batch, units).double()
    lengths = torch.randint(1, 71, (batch,))
    chunks, steps = (nn.MLSTM(3, units, num_heads=heads, form=form).double() for form in ("chunkwise", "recurrent"))
    steps.load_state_dict(chunks.state_dict())
    found = []
    for layer in (chunks, steps):
        given = x.clone().requires_grad_()
        layer(given, lengths=lengths)[0].backward(slope)
        found.append([given.grad, *(parameter.grad for parameter in layer.parameters())])
    for ours, right in zip(*found, strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-10, atol=1e-11)


@SMALL
def test_native_scan__preserves_values__any_threads(spec: CellSpec) -> None:
    case = hostile(spec, steps=100, batch=7)
    layer, threads = make(case), torch.get_num_threads()
    every = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            every.append(train(layer, case.x, case.hx, lengths=case.lengths, resets=case.resets))
    finally:
        torch.set_num_threads(threads)
    for other in every[1:]:
        for left, right in zip(other, every[0], strict=True):
            close(left, right)


@SMALL
def test_native_scan__equals_itself__without_gradients(spec: CellSpec) -> None:
    case = hostile(spec, steps=70)
    layer = make(case)
    kept = flat(layer(case.x, one(case.hx), lengths=case.lengths))
    with torch.no_grad():
        unkept = flat(layer(case.x, one(case.hx), lengths=case.lengths))
    assert all(torch.equal(left, right) for left, right in zip(kept, unkept, strict=True))


@SMALL
def test_native_scan__equals_itself__any_layout(spec: CellSpec) -> None:
    case = hostile(spec, steps=6)
    layer, turned = make(case), make(case, batch_first=True)
    expected = train(layer, case.clean.contiguous(), case.hx)
    strided = torch.empty(6, 3, 2 * spec.input_size, dtype=torch.float64)[..., ::2].copy_(case.clean)
    for left, right in zip(flat(layer(strided, one(case.hx))), expected, strict=False):
        assert torch.equal(left, right)
    output = turned(case.clean.transpose(0, 1), one(case.hx))[0]
    assert torch.equal(output.transpose(0, 1), expected[0])
    packed = layer(pack_padded_sequence(case.clean, [6, 6, 6]), one(case.hx))[0]
    assert torch.equal(packed.data.view(6, 3, -1), expected[0])


@SMALL
def test_gradients__equal_each_other__batched_and_one_by_one(spec: CellSpec) -> None:
    case = hostile(spec)
    layer = make(case)
    output = flat(layer(case.clean, one(case.hx)))[0]
    many = torch.randn(4, *output.shape, dtype=torch.float64)
    parameters = list(layer.parameters())
    together = torch.autograd.grad(output, parameters, many, is_grads_batched=True, retain_graph=True)
    for n, grad in enumerate(many):
        alone = torch.autograd.grad(output, parameters, grad, retain_graph=True)
        for left, right in zip(together, alone, strict=True):
            close(left[n], right)


@SMALL
def test_last_states__train_alone(spec: CellSpec) -> None:
    """No gradient of the output, and of one state only: the others' are none, not anything."""
    case = hostile(spec, steps=70)
    layer, twin = make(case), make(case, form="recurrent")
    for n in range(1, 1 + len(case.hx)):
        results = [flat(chosen(case.x, one(case.hx), lengths=case.lengths))[n].sum() for chosen in (layer, twin)]
        pairs = zip(results, (layer, twin), strict=True)
        ours, theirs = (
            torch.autograd.grad(result, [*chosen.parameters()], allow_unused=True) for result, chosen in pairs
        )
        for left, right in zip(ours, theirs, strict=True):
            close(left, right)


@pytest.mark.parametrize("inputs", [5, 64])
@pytest.mark.parametrize("cell", LAYERS)
def test_native_scan__equals_its_rows__more_than_the_caches_hold(cell: str, inputs: int, instruction_set: str) -> None:
    """What is large is fetched ahead, and written past the caches.

    Tiles of other sizes round differently, and an mLSTM that divides by little makes much of it.
    """
    case = hostile(sizes(cell, inputs, 64, 4), steps=150, batch=64)
    layer = make(case)
    every = _with_input_gradient(layer, case.clean, case.hx)
    rows = [slice(b, b + 4) for b in range(0, 64, 4)]
    parts = [_with_input_gradient(layer, case.clean[:, some], tuple(h[:, some] for h in case.hx)) for some in rows]
    for whole, *own in zip(every, *parts, strict=True):
        torch.testing.assert_close(whole, torch.cat(own, 1), rtol=0.0, atol=1e-9 * float(whole.abs().max()))


@SMALL
def test_nan__stays_in_its_row(spec: CellSpec) -> None:
    case = hostile(spec, steps=70)
    layer = make(case)
    dirty = case.clean.clone()
    dirty[3, 1, 0] = torch.nan
    (expected, *_, right), (output, *_, found) = (_with_input_gradient(layer, x, case.hx) for x in (case.clean, dirty))
    assert output[3:, 1].isnan().all()
    assert torch.equal(output[:3, 1], expected[:3, 1]) or spec.cell == "mlstm"
    close(output[:3, 1], expected[:3, 1])
    assert torch.equal(output[:, [0, 2]], expected[:, [0, 2]])
    assert torch.equal(found[:, [0, 2]], right[:, [0, 2]])


def _with_input_gradient(layer: Any, x: Tensor, hx: tuple[Tensor, ...]) -> list[Tensor]:
    """Outputs, and the gradient of x alone."""
    x = x.clone().requires_grad_()
    every = flat(layer(x, one(hx)))
    total: Any = sum(y.sum() for y in every)
    return [*(y.detach() for y in every), *torch.autograd.grad(total, x)]


def test_gradient__rejects_change_in_place() -> None:
    layer = nn.MinLSTM(3, 4)
    x = torch.randn(5, 2, 3)
    output, _ = layer(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize(
    ("cell", "name"), [("minlstm", "weight_ih_l0"), ("mlstm", "weight_if_l0"), ("mlstm", "bias_qkvo_l0")]
)
def test_layer__rejects_replaced_weight(cell: str, name: str) -> None:
    layer = LAYERS[cell](3, 4)
    shape = (*getattr(layer, name).shape[:-1], 1)
    setattr(layer, name, torch.nn.Parameter(torch.zeros(shape)))
    with pytest.raises(ShapeError, match=f"{name.removesuffix('_l0')} must have shape"):
        layer(torch.randn(5, 2, 3))


def test_engine__equals_what_is_possible() -> None:
    x = torch.randn(5, 2, 3)
    layer = nn.MinGRU(3, 4)
    assert layer.explain_engine(x, lengths=True, resets=True).engine == "native"
    explained = layer.explain_engine(x, return_gates=True)
    assert explained.engine == "reference"
    assert explained.rejected["native"] == "the native scan does not keep the gates"
    assert layer.explain_engine(x.half()).engine == "reference"
    assert nn.MinGRU(3, 4, form="recurrent").explain_engine(x).engine == "reference"
    assert nn.MinGRU(3, 4, engine="reference").explain_engine(x).engine == "reference"
    assert nn.MinGRU(3, 4, engine="native").explain_engine(x).engine == "native"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.explain_engine(x).engine == "reference"
    with pytest.raises(EngineError, match="cannot run this: the native scan does not keep the gates"):
        nn.MinGRU(3, 4, engine="native")(x, return_gates=True)
    with pytest.raises(EngineError, match="the native core has no form='recurrent' of the cell 'mlstm'"):
        nn.MLSTM(3, 4, engine="native", form="recurrent")(x)
