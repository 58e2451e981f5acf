"""The contract: the LSTM x every engine x every check, on hostile data. Its relatives: test_relatives.py."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import Hostile, close, hostile, run_oracle, torch_layer
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmkit import nn, reference
from lstmkit.ops import lstm_layer, native_available
from lstmkit.spec import CellSpec

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

LAYERS = {"lstm": nn.LSTM}
CONFIGURATIONS = {
    "plain": {"input_size": 3, "hidden_size": 5},
    "one-unit": {"input_size": 1, "hidden_size": 1},
    "no-bias": {"input_size": 2, "hidden_size": 7, "bias": False},
    "projection": {"input_size": 3, "hidden_size": 5, "proj_size": 2},
    "L3": {"input_size": 3, "hidden_size": 4, "num_layers": 3},
    "bi": {"input_size": 4, "hidden_size": 17, "bidirectional": True},
    "L2-bi": {"input_size": 3, "hidden_size": 5, "num_layers": 2, "bidirectional": True},
    "L2-bi-projection": {"input_size": 3, "hidden_size": 5, "num_layers": 2, "bidirectional": True, "proj_size": 3},
}
SPECS = {
    f"{cell}-{name}": CellSpec(**options, cell=cell) for cell in LAYERS for name, options in CONFIGURATIONS.items()
}
EVERY = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
RICHEST = pytest.mark.parametrize("spec", [SPECS[f"{cell}-L2-bi-projection"] for cell in LAYERS], ids=list(LAYERS))
NEEDS_CORE = pytest.mark.skipif(not native_available(), reason="the native core was not built")


def each(specs: dict[str, CellSpec], *engines: str) -> pytest.MarkDecorator:
    """Every specification with every engine."""
    return pytest.mark.parametrize(
        ("spec", "engine"),
        [
            pytest.param(spec, engine, id=f"{name}-{engine}", marks=[NEEDS_CORE] if "native" in engine else [])
            for name, spec in specs.items()
            for engine in engines
        ],
    )


RICH = {name: spec for name, spec in SPECS.items() if name.endswith(("-L2-bi", "-L2-bi-projection"))}
EAGER = ("torch", "reference", "native", "native-f32", "native-bf16")
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
COMPILED = ("compiled-torch", "compiled-reference", "compiled-native")
EVERY_EAGER = each(SPECS, *EAGER)
EVERY_ENGINE = each(SPECS, *EAGER, *COMPILED)
RICHEST_EAGER = each(RICH, *EAGER)
RICHEST_ENGINE = each(RICH, *EAGER, *COMPILED)


def draw(spec: CellSpec, engine: str, **options: Any) -> Hostile:
    """A hostile case in the precision that an engine is judged in."""
    return hostile(spec, dtype=DTYPES.get(engine.rpartition("-")[2], torch.float64), **options)


def engine_of(engine: str) -> str:
    return engine.removeprefix("compiled-").partition("-")[0]


def make_layer(case: Hostile, engine: str | None = None, **options: Any) -> Any:
    spec = case.spec
    layer = LAYERS[spec.cell](
        spec.input_size,
        spec.hidden_size,
        spec.num_layers,
        spec.bias,
        bidirectional=spec.bidirectional,
        proj_size=spec.proj_size,
        dtype=case.clean.dtype,
        engine=engine and engine_of(engine),
        **options,
    )
    layer.load_state_dict(case.parameters)
    return layer


def caller(layer: Any, engine: str) -> Any:
    if not engine.startswith("compiled"):
        return layer
    torch._dynamo.reset()
    return torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)


def gradients(outputs: tuple[Tensor, ...], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a sum in which every number has a weight of its own."""
    generator = torch.Generator().manual_seed(1)
    draws = [torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype) for y in outputs]
    return torch.autograd.grad(sum((y * w).sum() for y, w in zip(outputs, draws, strict=True)), inputs)


def leaves(x: Tensor, hx: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    h, c = hx
    return x.detach().requires_grad_(), (h.detach().requires_grad_(), c.detach().requires_grad_())


def values_and_gradients(run: Callable[..., Any], layer: torch.nn.Module, x: Tensor, hx: Any) -> tuple[Tensor, ...]:
    x, hx = leaves(x, hx)
    output, h, c = run(x, hx)
    return output, h, c, *gradients((output, h, c), [x, *hx, *layer.parameters()])


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
def test_numpy_reference__matches_torch(spec: CellSpec, dtype: torch.dtype) -> None:
    case = hostile(spec, dtype=dtype)
    parameters = {name: value.numpy() for name, value in case.parameters.items()}
    state = case.hx[0].numpy(), case.hx[1].numpy()
    result = reference.run_sequence(np, spec, parameters, case.x.numpy(), state, lengths=case.lengths.numpy())
    expected = run_oracle(torch_layer(case), case, case.clean, case.hx)
    for actual, oracle in zip((result.output, *result.state), expected, strict=True):
        close(torch.from_numpy(actual), oracle.detach())


@EVERY_ENGINE
def test_layer__matches_torch__values_and_all_gradients(spec: CellSpec, engine: str) -> None:
    case = draw(spec, engine)
    layer, oracle = make_layer(case, engine), torch_layer(case)
    call = caller(layer, engine)

    def run(x: Tensor, hx: Any) -> tuple[Tensor, ...]:
        output, (h, c) = call(x, hx, lengths=case.lengths)
        return output, h, c

    actual = values_and_gradients(run, layer, case.x, case.hx)
    expected = values_and_gradients(lambda x, hx: run_oracle(oracle, case, x, hx), oracle, case.clean, case.hx)
    names = ["output", "h", "c", "dx", "dh", "dc", *(f"d{name}" for name, _ in oracle.named_parameters())]
    for name, ours, theirs in zip(names, actual, expected, strict=True):
        close(ours, theirs, name)


@each(SPECS, "reference", "compiled-reference", "native", "compiled-native")
def test_layer__matches_autograd_of_reference__resets_and_trace(spec: CellSpec, engine: str) -> None:
    case = draw(spec, engine)
    layer = make_layer(case, engine)
    call = caller(layer, engine)
    extras = {"lengths": case.lengths, "resets": case.resets, "return_cells": True, "return_gates": True}

    def ours(x: Tensor, hx: Any) -> tuple[Tensor, ...]:
        output, (h, c), trace = call(x, hx, **extras)
        return output, h, c, *trace.cells, *(gate for gates in trace.gates for gate in gates.values())

    def theirs(x: Tensor, hx: Any) -> tuple[Tensor, ...]:
        result = reference.run_sequence(torch, spec, dict(layer.named_parameters()), x, hx, **extras)
        assert result.cells is not None
        assert result.gates is not None
        return result.output, *result.state, *result.cells, *(gate for gates in result.gates for gate in gates.values())

    def everything(run: Callable[..., tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        x, hx = leaves(case.x, case.hx)
        outputs = run(x, hx)
        return *outputs, *gradients(outputs, [x, *hx, *layer.parameters()])

    for left, right in zip(everything(ours), everything(theirs), strict=True):
        close(left, right)


@RICHEST
@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_layer__matches_finite_differences__twice(spec: CellSpec, engine: str) -> None:
    case = hostile(CellSpec(1, 2, 2, bidirectional=True, proj_size=1, cell=spec.cell), steps=3, batch=2)
    layer = make_layer(case, engine)
    x, hx = leaves(case.clean, case.hx)
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x: Tensor, h: Tensor, c: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(names, values, strict=True))
        output, state = torch.func.functional_call(layer, parameters, (x, (h, c)), {"lengths": case.lengths})
        return output, *state

    assert torch.autograd.gradcheck(run, (x, *hx, *values))
    assert torch.autograd.gradgradcheck(run, (x, *hx, *values), fast_mode=True)


@EVERY_EAGER
def test_layer__preserves_meaning__no_state_is_zero_state(spec: CellSpec, engine: str) -> None:
    case = draw(spec, engine)
    layer = make_layer(case, engine)
    zeros = tuple(torch.zeros_like(value) for value in case.hx)
    for left, right in zip(
        flat(layer(case.x, lengths=case.lengths)), flat(layer(case.x, zeros, lengths=case.lengths)), strict=True
    ):
        assert torch.equal(left, right)


@EVERY_EAGER
def test_layer__preserves_rows__padded_packed_and_alone(spec: CellSpec, engine: str) -> None:
    case = draw(spec, engine)
    layer = make_layer(case, engine)
    output, (h, c) = layer(case.x, case.hx, lengths=case.lengths)
    packed, (h_packed, c_packed) = layer(pack_padded_sequence(case.x, case.lengths, enforce_sorted=False), case.hx)
    assert isinstance(packed, PackedSequence)
    close(pad_packed_sequence(packed, total_length=5)[0], output)
    close(h_packed, h)
    close(c_packed, c)
    for b, length in enumerate(case.lengths):
        state = case.hx[0][:, b], case.hx[1][:, b]
        alone, (h_alone, c_alone) = layer(case.x[:length, b], state)
        close(output[:length, b], alone)
        assert (output[length:, b] == 0).all()
        close(h[:, b], h_alone)
        close(c[:, b], c_alone)


@EVERY_EAGER
def test_layer__never_reads_padding__in_values_or_gradients(spec: CellSpec, engine: str) -> None:
    case = draw(spec, engine)
    layer = make_layer(case, engine)

    def run(x: Tensor, hx: Any) -> tuple[Tensor, ...]:
        return flat(layer(x, hx, lengths=case.lengths))

    dirty = values_and_gradients(run, layer, torch.where(case.x.isnan(), torch.inf, case.x), case.hx)
    clean = values_and_gradients(run, layer, case.clean, case.hx)
    for left, right in zip(dirty, clean, strict=True):
        assert torch.equal(left, right)
    assert (dirty[3][case.x.isnan()] == 0).all()


@RICHEST_EAGER
def test_layer__preserves_meaning__reverse_is_flip(spec: CellSpec, engine: str) -> None:
    case = draw(CellSpec(3, 5, bidirectional=True, cell=spec.cell), engine)
    layer = make_layer(case, engine)
    output, (h, c) = layer(case.clean, case.hx)
    for name in case.parameters:
        other = name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"
        layer.load_state_dict({name: case.parameters[other]}, strict=False)
    flipped, (h_flipped, c_flipped) = layer(case.clean.flip(0), tuple(value.flip(0) for value in case.hx))
    close(flipped.flip(0).roll(5, 2), output)
    close(h_flipped.flip(0), h)
    close(c_flipped.flip(0), c)


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not spec.bidirectional])
def test_step__matches_sequence(name: str) -> None:
    spec = SPECS[name]
    case = hostile(spec)
    whole = reference.run_sequence(torch, spec, case.parameters, case.clean, case.hx)
    state: Any = case.hx
    for t, x in enumerate(case.clean):
        output, state = reference.run_step(torch, spec, case.parameters, x, state)
        close(output, whole.output[t])
    for left, right in zip(state, whole.state, strict=True):
        close(left, right)


@EVERY
def test_resets__equals_separate_sequences(spec: CellSpec) -> None:
    case = hostile(spec, steps=9, batch=2)
    layer = make_layer(case)
    output, (h, c) = layer(case.x, case.hx, lengths=case.lengths, resets=case.resets)
    backwards = torch.arange(spec.num_layers * spec.num_directions) % spec.num_directions == 1
    for b, length in enumerate(case.lengths.tolist()):
        borders = [0, *(t for t in range(1, length) if case.resets[t, b]), length]
        for start, stop in pairwise(borders):
            enters = torch.where(backwards, stop == length, start == 0 and not bool(case.resets[0, b]))
            state = tuple(torch.where(enters[:, None], value[:, b], 0.0) for value in case.hx)
            alone, (h_alone, c_alone) = layer(case.x[start:stop, b], state)
            close(output[start:stop, b], alone)
            leaves_here = torch.where(backwards, start == 0, stop == length)
            close(h[leaves_here, b], h_alone[leaves_here])
            close(c[leaves_here, b], c_alone[leaves_here])


@RICHEST_ENGINE
def test_layer__writes_every_output__memory_filled_with_nan(spec: CellSpec, engine: str) -> None:
    case = draw(spec, engine)
    call = caller(make_layer(case, engine), engine)
    try:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = True
        for value in flat(call(case.x, case.hx, lengths=case.lengths)):
            assert torch.isfinite(value).all()
    finally:
        torch.use_deterministic_algorithms(False)


@RICHEST_ENGINE
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 4), (6, 1)])
def test_layer__matches_torch__smallest_sizes(spec: CellSpec, engine: str, steps: int, batch: int) -> None:
    case = draw(spec, engine, steps=steps, batch=batch)
    call = caller(make_layer(case, engine), engine)
    for ours, theirs in zip(flat(call(case.clean, case.hx)), flat(torch_layer(case)(case.clean, case.hx)), strict=True):
        close(ours, theirs)


@RICHEST_EAGER
def test_layer__equals_itself__called_twice(spec: CellSpec, engine: str) -> None:
    case = draw(spec, engine)
    layer = make_layer(case, engine)

    def run() -> tuple[Tensor, ...]:
        return values_and_gradients(lambda x, hx: flat(layer(x, hx, lengths=case.lengths)), layer, case.x, case.hx)

    assert all(torch.equal(left, right) for left, right in zip(run(), run(), strict=True))


@RICHEST
@pytest.mark.parametrize(
    "engine",
    [
        "reference",
        "compiled-torch",
        "compiled-reference",
        pytest.param("native", marks=NEEDS_CORE),
        pytest.param("compiled-native", marks=NEEDS_CORE),
    ],
)
def test_layer__matches_torch__autocast(spec: CellSpec, engine: str) -> None:
    case = hostile(CellSpec(3, 5, 2, bidirectional=True, cell=spec.cell), dtype=torch.float32)
    call = caller(make_layer(case, engine), engine)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = flat(call(case.clean, case.hx)), flat(torch_layer(case)(case.clean, case.hx))
    for left, right in zip(ours, theirs, strict=True):
        assert left.dtype == right.dtype == torch.bfloat16
        close(left, right)


@EVERY
def test_state_dict__roundtrips__and_loads_torch(spec: CellSpec) -> None:
    case = hostile(spec)
    layer, oracle = make_layer(case), torch_layer(case)
    assert list(layer.state_dict()) == list(oracle.state_dict()) == list(spec.parameter_shapes())
    oracle.load_state_dict(layer.state_dict())
    layer.load_state_dict(oracle.state_dict())
    assert all(torch.equal(value, case.parameters[name]) for name, value in layer.state_dict().items())


@RICHEST_EAGER
def test_export__equals_module__other_batch_and_time(spec: CellSpec, engine: str) -> None:
    case = draw(spec, engine)
    layer = make_layer(case, engine).eval()
    time, batch = torch.export.Dim("time", min=1), torch.export.Dim("batch", min=1)
    shapes = {"input": {0: time, 1: batch}, "lengths": {0: batch}}
    program = torch.export.export(layer, (case.clean,), {"lengths": case.lengths}, dynamic_shapes=shapes)
    calls = [node for node in program.graph.nodes if node.target is torch.ops.lstmkit.lstm_layer.default]
    assert len(calls) == spec.num_layers
    other = draw(spec, engine, steps=8, batch=4, seed=2)
    exported = program.module()(other.x, lengths=other.lengths)
    for left, right in zip(flat(exported), flat(layer(other.x, lengths=other.lengths)), strict=True):
        close(left, right)


@RICHEST_EAGER
def test_op__matches_its_declaration(spec: CellSpec, engine: str) -> None:
    one_layer = CellSpec(2, 3, bidirectional=True, proj_size=2 if spec.proj_size else 0, cell=spec.cell)
    case = draw(one_layer, engine, steps=3)
    weights = [value.requires_grad_() for value in case.parameters.values()]
    resets = None if engine == "torch" else case.resets
    x, (h, c) = leaves(case.x, case.hx)
    results = torch.library.opcheck(
        lstm_layer, (x, h, c, weights, case.lengths, resets, engine_of(engine), True, 0, None)
    )
    assert set(results.values()) == {"SUCCESS"}


@RICHEST
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": torch.zeros(5, 3, 4)}, r"input must have shape \(T, B, 3\), not \(5, 3, 4\)"),
        ({"input": torch.zeros(0, 3, 3)}, "at least 1"),
        ({"input": torch.zeros(5)}, "2 dimensions"),
        ({"hx": (torch.zeros(4, 2, 3), torch.zeros(4, 3, 5))}, r"h must have shape \(4, 3, 3\), not \(4, 2, 3\)"),
        ({"hx": (torch.zeros(4, 3, 3), torch.zeros(4, 3, 3))}, r"c must have shape \(4, 3, 5\), not \(4, 3, 3\)"),
        ({"hx": (torch.zeros(4, 3), torch.zeros(4, 5))}, "h must have 3 dimensions"),
        ({"hx": torch.zeros(2, 4, 3, 3)}, "pair"),
        ({"lengths": [5, 3]}, r"lengths must have shape \(3,\), not \(2,\)"),
        ({"lengths": [5, 3, 0]}, r"in 1\.\.5, but they reach from 0 to 5"),
        ({"lengths": [6, 3, 1]}, r"in 1\.\.5, but they reach from 1 to 6"),
        ({"lengths": [2.0, 3.0, 1.0]}, "whole numbers"),
        ({"resets": torch.zeros(5, 2, dtype=torch.bool)}, r"resets must have shape \(5, 3\)"),
        ({"resets": torch.zeros(5, 3)}, "type bool"),
        ({"input": torch.zeros(5, 3, 3, dtype=torch.float64)}, "float64"),
        ({"input": torch.zeros(5, 3, 3, dtype=torch.int64)}, "int64"),
        ({"input": torch.zeros(5, 3, 3, device="meta")}, "on meta"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_layer__rejects_wrong_input(spec: CellSpec, change: dict[str, Any], message: str) -> None:
    layer = make_layer(hostile(spec, dtype=torch.float32))
    with pytest.raises(ValueError, match=message):
        layer(**({"input": torch.zeros(5, 3, 3)} | change))


def flat(result: tuple[Any, ...]) -> tuple[Tensor, ...]:
    output, (h, c) = result
    return output, h, c
