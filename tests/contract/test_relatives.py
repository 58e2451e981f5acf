"""What is asked of the other cells beside the contract of the family: more sizes, precisions, forms, wrong input.

A cell that is new in the catalog is tested here by itself. What has to be written is its layer in ``nn/build.py`` and
its equations once more, for one row and one step, in ``helpers/plain_cells.py``.
"""

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family import beside, flat, gradients, leaves, many, one
from helpers.hostile import Hostile, close, hostile
from helpers.plain_cells import PLAIN, run_plain
from helpers.specs import OPTIONS
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstmkit import nn
from lstmkit.nn.build import LAYERS
from lstmkit.ops import cell_layer, describe
from lstmkit.reference import run_sequence, run_step
from lstmkit.spec import CATALOG, CellSpec

CELLS = [cell for cell, entry in CATALOG.items() if entry.driver in ("steps", "chunks") and cell != "lstm"]
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {"input_size": 3, "hidden_size": 6},
    "one-unit": {"input_size": 1, "hidden_size": 1},
    "no-bias": {"input_size": 2, "hidden_size": 4, "bias": False},
    "L2-bi": {"input_size": 3, "hidden_size": 6, "num_layers": 2, "bidirectional": True},
}


def with_options(configuration: str) -> dict[str, CellSpec]:
    """Every cell in one configuration, with its defaults and with each set of its options."""
    sizes = CONFIGURATIONS[configuration]
    return {
        f"{cell}-{configuration}{dash}{name}": CellSpec(**sizes, **options, cell=cell)
        for cell in CELLS
        for dash, name, options in [("", "", {}), *(("-", *item) for item in OPTIONS.get(cell, {}).items())]
    }


RICH = with_options("L2-bi")
SPECS = {f"{cell}-{name}": CellSpec(**sizes, cell=cell) for cell in CELLS for name, sizes in CONFIGURATIONS.items()}
SPECS |= RICH
EVERY = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
RICHEST = pytest.mark.parametrize("spec", RICH.values(), ids=RICH)
# Options change nothing in how a cell is compiled, exported or refused.
DEFAULTS = {f"{cell}-L2-bi": RICH[f"{cell}-L2-bi"] for cell in CELLS}
EACH_CELL = pytest.mark.parametrize("spec", DEFAULTS.values(), ids=DEFAULTS)
SHALLOW = with_options("plain")
# Two layers amplify float32's rounding in exponential gates, and many turns that of a time, beyond any tolerance that
# could still see a bug.
EVERY_PRECISION = pytest.mark.parametrize(
    ("spec", "dtype"),
    [pytest.param(spec, torch.float64, id=f"{name}-f64") for name, spec in SPECS.items()]
    + [pytest.param(spec, torch.float32, id=f"{name}-f32") for name, spec in SHALLOW.items() if spec.cell != "phased"],
)
ONE_WAY = {name: spec for name, spec in (SPECS | SHALLOW).items() if not spec.bidirectional}


def make(case: Hostile, **options: Any) -> Any:
    layer = nn.build(case.spec, dtype=case.clean.dtype, **options)
    layer.load_state_dict(case.parameters)
    return layer


def plain(case: Hostile, parameters: Any, x: Tensor, hx: Any) -> tuple[Tensor, ...]:
    """The oracle, which computes in float64."""
    wide = {name: value.double() for name, value in dict(parameters).items()}
    extra, hx = None if case.extra is None else case.extra.double(), tuple(value.double() for value in hx)
    result = run_plain(case.spec, wide, x.double(), hx, extra, lengths=case.lengths, resets=case.resets)
    every = result.output, *result.state, *(gate for gates in result.gates for gate in gates.values())
    return tuple(value.to(x.dtype) for value in every)


def test_catalog__equals_tested_cells() -> None:
    """What is no sequence of vectors has tests of its own: test_tree.py, test_conv.py."""
    assert {*LAYERS} == {*CELLS, "lstm", "tree"}
    assert {*PLAIN} == {*CELLS, "conv_lstm"}


@EVERY_PRECISION
def test_numpy_reference__matches_plain_loop(spec: CellSpec, dtype: torch.dtype) -> None:
    case = hostile(spec, dtype=dtype)
    parameters = {name: value.numpy() for name, value in case.parameters.items()}
    state = tuple(value.numpy() for value in case.hx)
    extra = None if case.extra is None else case.extra.numpy()
    masks = {"lengths": case.lengths.numpy(), "resets": case.resets.numpy()}
    result = run_sequence(np, spec, parameters, case.x.numpy(), state, extra=extra, **masks, return_gates=True)
    assert result.gates is not None
    actual = result.output, *result.state, *(gate for gates in result.gates for gate in gates.values())
    for ours, theirs in zip(actual, plain(case, case.parameters, case.clean, case.hx), strict=True):
        assert ours.dtype == case.clean.numpy().dtype
        close(torch.from_numpy(np.asarray(ours)), theirs)


@EVERY_PRECISION
def test_layer__matches_plain_loop__values_and_all_gradients(spec: CellSpec, dtype: torch.dtype) -> None:
    case = hostile(spec, dtype=dtype)
    layer = make(case)
    x, hx = leaves(case.x, case.hx)
    masks = {"lengths": case.lengths, "resets": case.resets}
    actual = flat(layer(x, one(hx), **beside(case), **masks, return_gates=True))
    clean, state = leaves(case.clean, case.hx)
    expected = plain(case, layer.named_parameters(), clean, state)
    for ours, theirs in zip(actual, expected, strict=True):
        close(ours, theirs)
    names = ["x", *spec.state_shapes(), *(name for name, _ in layer.named_parameters())]
    ours, theirs = (
        gradients(actual, [x, *hx, *layer.parameters()]),
        gradients(expected, [clean, *state, *layer.parameters()]),
    )
    for name, left, right in zip(names, ours, theirs, strict=True):
        close(left, right, f"d{name}")
    assert (ours[0][case.x.isnan()] == 0).all()


@EVERY
def test_layer__preserves_meaning__no_state_is_zero_state(spec: CellSpec) -> None:
    case = hostile(spec)
    layer = make(case)
    zeros = one(tuple(torch.zeros_like(value) for value in case.hx))
    options = {"lengths": case.lengths, **beside(case)}
    for left, right in zip(flat(layer(case.x, **options)), flat(layer(case.x, zeros, **options)), strict=True):
        assert torch.equal(left, right)


@EVERY
def test_layer__preserves_rows__padded_packed_and_alone(spec: CellSpec) -> None:
    case = hostile(spec)
    layer = make(case)
    output, state = layer(case.x, one(case.hx), lengths=case.lengths, **beside(case))
    if spec.entry.extra is None:
        packed, packed_state = layer(pack_padded_sequence(case.x, case.lengths, enforce_sorted=False), one(case.hx))
        close(pad_packed_sequence(packed, total_length=5)[0], output)
        for left, right in zip(many(packed_state), many(state), strict=True):
            close(left, right)
    for b, length in enumerate(case.lengths.tolist()):
        hx = one(tuple(value[:, b] for value in case.hx))
        alone, state_alone = layer(case.x[:length, b], hx, **beside(case, (slice(0, length), b)))
        close(output[:length, b], alone)
        assert (output[length:, b] == 0).all()
        for left, right in zip(many(state), many(state_alone), strict=True):
            close(left[:, b], right)


@EVERY
@pytest.mark.parametrize("filler", [torch.nan, torch.inf, 7.0])
def test_layer__never_reads_padding(spec: CellSpec, filler: float) -> None:
    case = hostile(spec)
    layer = make(case)
    dirty = torch.where(case.x.isnan(), filler, case.x)
    options = {"lengths": case.lengths, "resets": case.resets, **beside(case)}
    left, right = layer(dirty, one(case.hx), **options), layer(case.clean, one(case.hx), **options)
    assert all(torch.equal(a, b) for a, b in zip(flat(left), flat(right), strict=True))


@EACH_CELL
def test_layer__preserves_meaning__batch_first(spec: CellSpec) -> None:
    case = hostile(spec)
    layer, turned = make(case), make(case, batch_first=True)
    extras = {"lengths": case.lengths, **beside(case)}
    output, state = layer(case.x, one(case.hx), **extras)
    for name in {"times", "intervals"} & set(extras):
        extras[name] = extras[name].transpose(0, 1)
    other, other_state = turned(case.x.transpose(0, 1), one(case.hx), **extras)
    assert torch.equal(other.transpose(0, 1), output)
    assert all(torch.equal(left, right) for left, right in zip(many(state), many(other_state), strict=True))


@pytest.mark.parametrize("name", ONE_WAY)
def test_step__matches_sequence(name: str) -> None:
    spec = ONE_WAY[name]
    case = hostile(spec)
    whole = run_sequence(torch, spec, case.parameters, case.clean, case.hx, extra=case.extra)
    state: Any = case.hx
    for t, x in enumerate(case.clean):
        output, state = run_step(torch, spec, case.parameters, x, state, None if case.extra is None else case.extra[t])
        close(output, whole.output[t])
    for left, right in zip(state, whole.state, strict=True):
        close(left, right)


@EACH_CELL
def test_layer__roundtrips__state_dict_and_file(spec: CellSpec) -> None:
    case = hostile(spec)
    layer = make(case, learn_initial_state=False)
    assert list(layer.state_dict()) == list(spec.parameter_shapes())
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    twin = torch.load(buffer, weights_only=False)
    assert repr(twin) == repr(layer)
    assert CellSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    arguments = {"lengths": case.lengths, **beside(case)}
    for left, right in zip(flat(twin(case.x, **arguments)), flat(layer(case.x, **arguments)), strict=True):
        assert torch.equal(left, right)


@RICHEST
def test_initial_state__learns(spec: CellSpec) -> None:
    case = hostile(spec)
    learnt, given = make_learning(case), make(case)
    with torch.no_grad():
        for name, value in zip(spec.state_shapes(), case.hx, strict=True):
            getattr(learnt, f"{name}_0").copy_(value[:, 0])
    state = one(tuple(value[:, :1].repeat(1, 3, *[1] * (value.ndim - 2)) for value in case.hx))
    outputs = flat(learnt(case.clean, **beside(case)))
    for left, right in zip(outputs, flat(given(case.clean, state, **beside(case))), strict=True):
        close(left, right)
    gradients(outputs, [getattr(learnt, f"{name}_0") for name in spec.state_shapes()])


def make_learning(case: Hostile) -> Any:
    layer = nn.build(case.spec, dtype=case.clean.dtype, learn_initial_state=True)
    missing, unexpected = layer.load_state_dict(case.parameters, strict=False)
    assert set(missing) == {f"{name}_0" for name in case.spec.state_shapes()}
    assert not unexpected
    return layer


@EACH_CELL
def test_op__matches_its_declaration(spec: CellSpec) -> None:
    case = hostile(spec, steps=3)
    suffixes = spec.layer_suffixes(0)
    weights = [v.requires_grad_() for name, v in case.parameters.items() if name.endswith(suffixes)]
    x, state = leaves(
        case.clean if case.extra is None else torch.cat([case.clean, case.extra], 2),
        tuple(value[: spec.num_directions] for value in case.hx),
    )
    arguments = (describe(spec), x, list(state), weights, case.lengths, case.resets, [], "reference", False, True, 0)
    assert set(torch.library.opcheck(cell_layer, arguments).values()) == {"SUCCESS"}


@EACH_CELL
def test_layer__matches_lower_precision__autocast(spec: CellSpec) -> None:
    case = hostile(spec, dtype=torch.float32)
    layer = make(case, engine="reference")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = flat(layer(case.clean, **beside(case)))
    low = make(case, engine="reference").to(torch.bfloat16)
    low_extra = {name: value.bfloat16() for name, value in beside(case).items()}
    for left, right in zip(ours, flat(low(case.clean.bfloat16(), **low_extra)), strict=True):
        assert left.dtype == torch.bfloat16
        assert torch.equal(left, right)


@EACH_CELL
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": torch.zeros(5, 3, 4)}, r"input must have shape \(T, B, 3\), not \(5, 3, 4\)"),
        ({"input": torch.zeros(0, 3, 3)}, "at least 1"),
        ({"hx": torch.zeros(1)}, "hx must be|must have 3 dimensions"),
        ({"hx": ()}, "hx must be"),
        ({"lengths": [5, 3]}, r"lengths must have shape \(3,\), not \(2,\)"),
        ({"lengths": [5, 3, 0]}, r"in 1\.\.5, but they reach from 0 to 5"),
        ({"resets": torch.zeros(5, 3)}, "type bool"),
        ({"input": torch.zeros(5, 3, 3, dtype=torch.float64)}, "float64"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_layer__rejects_wrong_input(spec: CellSpec, change: dict[str, Any], message: str) -> None:
    case = hostile(spec, dtype=torch.float32)
    with pytest.raises(ValueError, match=message):
        make(case)(**({"input": torch.zeros(5, 3, 3), **beside(case)} | change))


@pytest.mark.parametrize("cell", CELLS)
def test_layer__rejects_unknown_option(cell: str) -> None:
    with pytest.raises(TypeError, match="has no argument proj_sise; its own are:"):
        LAYERS[cell](3, 6, proj_sise=2)


CHUNKED = {name: spec for name, spec in RICH.items() if spec.entry.driver == "chunks"}


@pytest.mark.parametrize("form", [1, 2, 4, "parallel"])
@pytest.mark.parametrize("name", CHUNKED)
def test_forms__match_each_other__values_and_all_gradients(name: str, form: int | str) -> None:
    case = hostile(CHUNKED[name], steps=7)
    options = {"form": form} if form == "parallel" else {"chunk_steps": form}
    every = []
    for layer in (make(case, **options), make(case, form="recurrent")):
        x, hx = leaves(case.x, case.hx)
        masks = {"lengths": case.lengths, "resets": case.resets}
        outputs = flat(layer(x, one(hx), **masks, return_gates=True))
        every.append((*outputs, *gradients(outputs, [x, *hx, *layer.parameters()])))
    for left, right in zip(*every, strict=True):
        close(left, right)


@pytest.mark.parametrize("chunk", [0, 3])
@pytest.mark.parametrize("name", CHUNKED)
def test_numpy_chunks__match_plain_loop(name: str, chunk: int) -> None:
    case = hostile(CHUNKED[name], steps=7)
    parameters = {name: value.numpy() for name, value in case.parameters.items()}
    masks = {"lengths": case.lengths.numpy(), "resets": case.resets.numpy()}
    state = tuple(value.numpy() for value in case.hx)
    result = run_sequence(np, case.spec, parameters, case.x.numpy(), state, **masks, chunk=chunk)
    expected = plain(case, case.parameters, case.clean, case.hx)
    for ours, theirs in zip((result.output, *result.state), expected, strict=False):
        close(torch.from_numpy(np.asarray(ours)), theirs)
