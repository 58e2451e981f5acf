"""The contract of every option of the LSTM, one at a time; test_properties.py has them in combination."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import close, hostile
from helpers.specs import ALONE_SPECS, make_spec
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lstmkit
from lstmkit import nn
from lstmkit.reference import run_sequence
from lstmkit.spec import CellSpec, EngineError

EVERY = pytest.mark.parametrize("spec", ALONE_SPECS.values(), ids=ALONE_SPECS)
INSIDE = {name: spec for name, spec in ALONE_SPECS.items() if spec.variant.changes()}


def both_ways(spec: CellSpec) -> CellSpec:
    return CellSpec.from_dict(spec.to_dict() | {"bidirectional": True})


def make_layer(spec: CellSpec, dtype: torch.dtype = torch.float64, **options: Any) -> nn.LSTM:
    return nn.build(spec, dtype=dtype, **options).eval()


def load(spec: CellSpec, dtype: torch.dtype = torch.float64, **options: Any) -> tuple[nn.LSTM, Any]:
    case = hostile(spec, dtype=dtype)
    layer = make_layer(spec, dtype, **options)
    layer.load_state_dict(case.parameters)
    return layer, case


def flat(result: Any) -> list[Tensor]:
    output, state, *trace = result
    gates = [value for layer in (trace[0].gates if trace else ()) for value in layer.values()]
    return [output, *state, *(trace[0].cells if trace else ()), *gates]


@EVERY
def test_layer__matches_numpy__lengths_resets_and_trace(spec: CellSpec) -> None:
    layer, case = load(both_ways(spec))
    extras = {"lengths": case.lengths, "resets": case.resets}
    ours = layer(case.x, case.hx, **extras, return_cells=True, return_gates=True)
    theirs = run_sequence(
        np,
        layer.spec,
        {name: value.numpy() for name, value in case.parameters.items()},
        case.x.numpy(),
        [value.numpy() for value in case.hx],
        **{name: value.numpy() for name, value in extras.items()},
        return_cells=True,
        return_gates=True,
    )
    gates = [value for own in theirs.gates or () for value in own.values()]
    for left, right in zip(flat(ours), [theirs.output, *theirs.state, *(theirs.cells or ()), *gates], strict=True):
        close(left.detach(), torch.from_numpy(right))


@EVERY
def test_layer__matches_finite_differences__twice(spec: CellSpec) -> None:
    document = both_ways(spec).to_dict() | {"input_size": 1}
    layer, case = load(CellSpec.from_dict(document))
    x, *hx = (value[:3].clone().requires_grad_() for value in (case.clean, *case.hx))
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state, values = rest[: len(case.hx)], rest[len(case.hx) :]
        named = dict(zip(names, values, strict=True))
        return tuple(flat(torch.func.functional_call(layer, named, (x, state), {"lengths": [3, 1, 2]})))

    hx = [value.detach()[: layer.spec.state_rows].requires_grad_() for value in case.hx]
    assert torch.autograd.gradcheck(run, (x, *hx, *values), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, *hx, *values), fast_mode=True)


@EVERY
def test_layer__preserves_rows__padded_packed_and_alone(spec: CellSpec) -> None:
    layer, case = load(both_ways(spec))
    output, state = layer(case.x, case.hx, lengths=case.lengths)
    packed, last = layer(pack_padded_sequence(case.x, case.lengths, enforce_sorted=False), case.hx)
    close(pad_packed_sequence(packed, total_length=5)[0], output)
    for left, right in zip(last, state, strict=True):
        close(left, right)
    for b, length in enumerate(case.lengths):
        alone, ends = layer(case.x[:length, b], [value[:, b] for value in case.hx])
        close(output[:length, b], alone)
        assert (output[length:, b] == 0).all()
        for left, right in zip(ends, state, strict=True):
            close(left, right[:, b])


@EVERY
def test_resets__equal_separate_sequences(spec: CellSpec) -> None:
    layer, case = load(spec)
    resets = torch.zeros(5, 3, dtype=torch.bool)
    resets[2] = True
    output, state = layer(case.clean, case.hx, resets=resets)
    (head, _), (tail, last) = layer(case.clean[:2], case.hx), layer(case.clean[2:])
    for left, right in zip((output, *state), (torch.cat([head, tail]), *last), strict=True):
        close(left, right)


@EVERY
def test_layer__matches_one_by_one__per_sample_gradients(spec: CellSpec) -> None:
    layer, case = load(spec)
    parameters = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, parameters, (x,))[0].square().sum()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, case.clean)
    for b in range(3):
        alone = torch.autograd.grad(layer(case.clean[:, b])[0].square().sum(), [*layer.parameters()])
        for (name, _), gradient in zip(layer.named_parameters(), alone, strict=True):
            close(together[name][b], gradient, name)


@EVERY
def test_layer__equals_itself__compiled(spec: CellSpec) -> None:
    layer, case = load(spec)
    torch._dynamo.reset()
    compiled: Any = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = []
    for call in (layer, compiled):
        x = case.clean.clone().requires_grad_()
        outputs = flat(call(x, case.hx, lengths=case.lengths))
        loss = sum((value * value).sum() for value in outputs)
        results.append([*outputs, *torch.autograd.grad(loss, [x, *layer.parameters()])])  # pyright: ignore
    for left, right in zip(*results, strict=True):
        close(left, right)


@EVERY
@pytest.mark.parametrize("learn", [False, True], ids=["zero", "learned"])
def test_file__roundtrips__and_streams_as_the_sequence(spec: CellSpec, learn: bool, tmp_path: Path) -> None:
    layer, case = load(spec, torch.float32) if not learn else (None, hostile(spec, dtype=torch.float32))
    if layer is None:
        layer = make_layer(spec, torch.float32, learn_initial_state=True)
        layer.load_state_dict(case.parameters, strict=False)
        for name in spec.state_shapes():
            torch.nn.init.normal_(getattr(layer, f"{name}_0"), generator=torch.Generator().manual_seed(1))
    nn.save_model(tmp_path / "m.safetensors", layer)
    model: Any = lstmkit.load(tmp_path / "m.safetensors")
    x = case.clean.transpose(0, 1).contiguous()
    expected = layer(case.clean)[0].transpose(0, 1).detach()
    close(torch.from_numpy(model.predict(x.numpy())), expected)
    stream, pool = model.stream(), model.pool(3)
    close(torch.from_numpy(np.stack([stream.step(row) for row in x[0].numpy()])), expected[0])
    close(torch.from_numpy(np.stack([pool.step(row) for row in case.clean.numpy()], 1)), expected)
    halfway = model.stream()
    halfway.run(x[0, :2].numpy())
    moved = model.stream()
    moved.state = dict(halfway.state)
    close(torch.from_numpy(moved.run(x[0, 2:].numpy())), expected[0, 2:])


def test_state_dict__equals_torch__plain() -> None:
    ours, theirs = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), torch.nn.LSTM(3, 4, 2, False, proj_size=2)
    assert [name for name in ours.state_dict() if "reverse" not in name and "bias" not in name] == list(
        theirs.state_dict()
    )


@EVERY
def test_state_dict__equals_specification(spec: CellSpec) -> None:
    layer = make_layer(spec)
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == spec.parameter_shapes()
    assert layer.spec == spec
    assert CellSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    for option in spec.variant.changes():
        assert f"{option}=" in repr(layer)


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("name", INSIDE)
def test_engine__rejects_what_it_cannot(name: str, engine: str) -> None:
    layer = make_layer(INSIDE[name], engine=engine)
    option = next(iter(INSIDE[name].variant.changes()))
    with pytest.raises(EngineError, match=f"the engine '{engine}' cannot run this: .*{option}"):
        layer(torch.zeros(2, 1, 3, dtype=torch.float64))
    assert make_layer(INSIDE[name]).explain_engine().engine == "reference"


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_stream__rejects_precision__that_needs_the_core(precision: str, tmp_path: Path) -> None:
    nn.save_model(tmp_path / "m.safetensors", make_layer(make_spec(peepholes="o")))
    with pytest.raises(EngineError, match=f"{precision} needs the native core, which runs the plain LSTM alone"):
        lstmkit.load(tmp_path / "m.safetensors").stream(precision=precision)  # pyright: ignore


@pytest.mark.parametrize("name", ["peepholes", "norm-ba", "gate-recurrence", "layer-sizes", "highway"])
def test_export__equals_module__other_batch_and_time(name: str) -> None:
    spec = both_ways(ALONE_SPECS[name])
    layer, case = load(spec)
    time, batch = torch.export.Dim("time", min=1), torch.export.Dim("batch", min=1)
    shapes = {"input": {0: time, 1: batch}, "lengths": {0: batch}}
    program = torch.export.export(layer, (case.clean,), {"lengths": case.lengths}, dynamic_shapes=shapes)
    nodes = [node.target for node in program.graph.nodes]
    ops = torch.ops.lstmkit
    assert nodes.count(ops.cell_layer.default) + nodes.count(ops.lstm_layer.default) == spec.num_layers
    other = hostile(spec, steps=8, batch=4, seed=2)
    exported = program.module()(other.x, lengths=other.lengths)
    for left, right in zip(flat(exported), flat(layer(other.x, lengths=other.lengths)), strict=True):
        close(left, right)
