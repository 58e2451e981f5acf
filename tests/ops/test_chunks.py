"""Checkpoints over time change memory, never numbers."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.hostile import Hostile, close, hostile
from torch import Tensor

from lstmkit import nn
from lstmkit.ops import lstm_layer, native_available
from lstmkit.spec import CellSpec, EngineError, OptionError

NEEDS_CORE = pytest.mark.skipif(not native_available(), reason="the native core was not built")
ENGINES = ["reference", pytest.param("native", marks=NEEDS_CORE)]
SPECS = {
    "plain": CellSpec(3, 5),
    "L2": CellSpec(3, 5, 2, bias=False),
    "L2-bi": CellSpec(3, 5, 2, bidirectional=True),
    "bi-projection": CellSpec(3, 5, bidirectional=True, proj_size=2),
}
EACH = [(name, "reference") for name in SPECS]
EACH += [pytest.param(name, "native", marks=NEEDS_CORE) for name in SPECS]
STEPS = 11


def make(case: Hostile, engine: str, checkpoint_steps: int | None = None) -> nn.LSTM:
    s = case.spec
    layer = nn.LSTM(
        s.input_size,
        s.hidden_size,
        s.num_layers,
        s.bias,
        bidirectional=s.bidirectional,
        proj_size=s.proj_size,
        dtype=case.clean.dtype,
        checkpoint_steps=checkpoint_steps,
        engine=engine,
    )
    layer.load_state_dict(case.parameters)
    return layer


def everything(layer: nn.LSTM, case: Hostile, call: Any = None, **extras: Any) -> list[Tensor]:
    """Outputs, and all gradients of a sum in which every number has a weight of its own."""
    x, h, c = (value.detach().requires_grad_() for value in (case.x if extras else case.clean, *case.hx))
    output, state = (layer if call is None else call)(x, (h, c), **extras)
    generator = torch.Generator().manual_seed(1)
    total = sum((y * torch.randn(y.shape, generator=generator).to(y.dtype)).sum() for y in (output, *state))
    return [output, *state, *torch.autograd.grad(total, [x, h, c, *layer.parameters()])]  # pyright: ignore


def draw(spec: CellSpec, engine: str, **options: Any) -> Hostile:
    return hostile(spec, steps=STEPS, batch=4, dtype=torch.float32 if engine == "native" else torch.float64, **options)


@pytest.mark.parametrize(("name", "engine"), EACH)
@pytest.mark.parametrize("masks", ["no masks", "lengths", "resets", "lengths and resets"])
def test_checkpoints__match_none__every_chunk(name: str, engine: str, masks: str) -> None:
    case = draw(SPECS[name], engine)
    extras = {mask: getattr(case, mask) for mask in ("lengths", "resets") if mask in masks}
    if "lengths" not in extras:
        case = replace(case, x=case.clean)
    expected = everything(make(case, engine), case, **extras)
    for steps in (1, 2, 4, 10, 11, 50):
        for left, right in zip(everything(make(case, engine, steps), case, **extras), expected, strict=True):
            close(left, right, f"{steps} steps")


@pytest.mark.parametrize("engine", ENGINES)
def test_checkpoints__preserve_short_rows__many_empty_chunks(engine: str) -> None:
    """A row that ended long ago hands its state through every later chunk, in both directions."""
    case = draw(CellSpec(3, 5, bidirectional=True), engine)
    lengths = torch.tensor([1, 11, 2, 1])
    padding = torch.arange(STEPS)[:, None] >= lengths
    case = replace(case, lengths=lengths, x=case.clean.masked_fill(padding[..., None], torch.nan))
    extras = {"lengths": case.lengths, "resets": case.resets}
    expected = everything(make(case, engine), case, **extras)
    for left, right in zip(everything(make(case, engine, 2), case, **extras), expected, strict=True):
        close(left, right)


@pytest.mark.parametrize("engine", ENGINES)
def test_checkpoints__match_second_derivative(engine: str) -> None:
    case = draw(CellSpec(3, 4, bidirectional=True), engine)
    found: list[tuple[Tensor, ...]] = []
    for steps in (None, 4):
        layer = make(case, engine, steps)
        x = case.clean.clone().requires_grad_()
        (slope,) = torch.autograd.grad(layer(x, lengths=case.lengths)[0].sin().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [x, *layer.parameters()]))
    for left, right in zip(*found, strict=True):
        close(left, right)


@pytest.mark.parametrize("engine", ENGINES)
def test_checkpoints__match_none__one_node_compiled(engine: str) -> None:
    case = draw(CellSpec(3, 5, bidirectional=True), engine)
    layer = make(case, engine, 4)
    torch._dynamo.reset()
    call = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    extras = {"lengths": case.lengths, "resets": case.resets}
    expected = everything(make(case, engine), case, **extras)
    for left, right in zip(everything(layer, case, call, **extras), expected, strict=True):
        close(left, right)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("steps", [2, STEPS])
def test_chunked_op__matches_its_declaration(engine: str, steps: int) -> None:
    case = draw(CellSpec(2, 3, bidirectional=True), engine)
    weights = [value.requires_grad_() for value in case.parameters.values()]
    given = (case.clean.clone().requires_grad_(), *case.hx, weights, case.lengths, case.resets)
    results = torch.library.opcheck(lstm_layer, (*given, engine, True, steps, None))
    assert set(results.values()) == {"SUCCESS"}


def bytes_kept(layer: nn.LSTM, x: Tensor) -> int:
    """Bytes that autograd holds beside inputs and parameters."""
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        layer(x)
    for value in (x, *layer.parameters()):
        kept.pop(value.untyped_storage().data_ptr(), None)
    return sum(kept.values())


@pytest.mark.parametrize("engine", ENGINES)
def test_checkpoints__keep_only_states_between_chunks(engine: str) -> None:
    T, B, H, k = 240, 3, 16, 20
    x = torch.randn(T, B, 4)
    layer = nn.LSTM(4, H, engine=engine)
    states, every_step = 2 * B * H * 4, T * B * H * 4
    initial = states
    assert bytes_kept(layer, x) >= 6 * every_step
    layer.checkpoint_steps = k
    assert bytes_kept(layer, x) == (T // k) * states + initial
    layer.checkpoint_steps = T
    assert bytes_kept(layer, x) == states + initial


LONG = r"""
import re, torch
from lstmkit import nn
torch.set_num_threads(1)
layer, x = nn.LSTM(1, 32, engine="native", checkpoint_steps=500), torch.randn(100_000, 2, 1)
peak = lambda: 1024 * int(re.search(r"VmPeak:\s+(\d+)", open("/proc/self/status").read())[1])
layer(x[:1000])[0].sum().backward()
before = peak()
for steps in (500, None):
    layer.checkpoint_steps = steps
    layer.zero_grad()
    layer(x)[0].sum().backward()
    print(peak() - before, float(layer.weight_hh_l0.grad.norm()))
"""


@NEEDS_CORE
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is asked of /proc")
def test_hundred_thousand_steps__never_need_every_trace() -> None:
    lines = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True).stdout.splitlines()
    (bounded, norm), (unbounded, expected) = (map(float, line.split()) for line in lines)
    one_number_per_unit = 100_000 * 2 * 32 * 4
    assert bounded < 2.5 * one_number_per_unit
    assert unbounded > 6 * one_number_per_unit
    assert norm == pytest.approx(expected, rel=1e-4)


@NEEDS_CORE
def test_checkpoints__matches_packed() -> None:
    case = draw(CellSpec(3, 5, bidirectional=True), "native")
    packed = torch.nn.utils.rnn.pack_padded_sequence(case.clean, case.lengths, enforce_sorted=False)
    found = []
    for steps in (None, 3):
        layer = make(case, "native", steps)
        output, _ = layer(packed, case.hx)
        found.append(torch.autograd.grad(output.data.sin().sum(), [*layer.parameters()]))
    for left, right in zip(*found, strict=True):
        close(left, right)


def test_checkpoints__reject_trace__with_gradients() -> None:
    layer = nn.LSTM(3, 5, checkpoint_steps=4)
    x = torch.randn(9, 2, 3)
    with pytest.raises(OptionError, match="cannot return them; run under torch.no_grad"):
        layer(x, return_gates=True)
    with torch.no_grad():
        assert layer(x, return_cells=True)[2].cells[0].shape == (9, 2, 5)
    with pytest.raises(EngineError, match="ATen keeps every step"):
        nn.LSTM(3, 5, checkpoint_steps=4, engine="torch")(x)
    assert layer.explain_engine().engine == ("native" if native_available() else "reference")


@pytest.mark.parametrize("steps", [0, -3, 2.0, True, "10"])
def test_checkpoints__reject_impossible_steps(steps: Any) -> None:
    with pytest.raises(OptionError, match="checkpoint_steps must be None or a whole number of at least 1"):
        nn.LSTM(3, 5, checkpoint_steps=steps)


def test_checkpoints__never_change_inference() -> None:
    layer = nn.LSTM(3, 5, checkpoint_steps=4)
    assert "checkpoint_steps=4" in repr(layer)
    x = torch.randn(9, 2, 3)
    with torch.no_grad():
        short = layer(x)[0]
    layer.checkpoint_steps = None
    with torch.no_grad():
        assert torch.equal(short, layer(x)[0])
