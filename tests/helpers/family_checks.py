"""What every row of the family must pass on every engine that takes it: one function per check.

A check compares an engine with a judge: the reference with plain Python, with finite differences and with itself under
another order of events, the other engines with the reference. ``CHECKS`` is the head of the table in
docs/explanation/family.md, :func:`find_refusal` what the choice of engines says against a square, and :func:`find_gap`
why a square has nothing to check.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from helpers import naive_lstm
from helpers.family import ROWS, Row, beside, flat, gradients, leaves, one, run
from helpers.hostile import Hostile, close, hostile
from helpers.plain_cells import run_plain
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lstmkit
from lstmkit import nn
from lstmkit.core import native_status
from lstmkit.reference import run_sequence, split_states
from lstmkit.runtime import Stage, recurrence
from lstmkit.spec import CATALOG, CellSpec, EngineError, OptionError

Tensors = tuple[Tensor, ...]
Call = Callable[[Tensor, Tensors], Tensors]


def check_values(row: Row, engine: str) -> None:
    """Outputs and last states are those of a second text, one row and one step at a time."""
    case = hostile(row.deep)
    layer = row.build(case, engine)
    output, *state = run(layer, case, case.x, case.hx, lengths=case.lengths)
    expect_plain(case, output.detach(), [value.detach() for value in state])


def expect_plain(case: Hostile, output: Tensor, state: Sequence[Tensor]) -> None:
    """Compare with plain Python over the real steps of each row."""
    if case.spec.cell == "lstm":
        _expect_naive(case, output, state)
        return
    expected = run_plain(case.spec, case.parameters, case.clean, case.hx, case.extra, lengths=case.lengths)
    _expect_close((output, *state), (expected.output, *expected.state))


def _expect_naive(case: Hostile, output: Tensor, state: Sequence[Tensor]) -> None:
    spec = case.spec
    numbers = {name: value.tolist() for name, value in case.parameters.items()}
    firsts, lasts = split_states(spec, case.hx), split_states(spec, tuple(state))
    for b, length in enumerate(case.lengths.tolist()):
        row = [[value[d, b].tolist() for value in layer] for layer in firsts for d in range(spec.num_directions)]
        expected, last = naive_lstm.run_stack(spec, numbers, case.clean[:length, b].tolist(), row)
        close(output[:length, b], torch.tensor(expected, dtype=output.dtype))
        found = [value[d, b] for layer in lasts for d in range(spec.num_directions) for value in layer]
        _expect_close(found, [torch.tensor(value, dtype=output.dtype) for own in last for value in own])


def _expect_close(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    for left, right in zip(ours, theirs, strict=True):
        close(left, right)


def check_gradients(row: Row, engine: str) -> None:
    """Values and every gradient are the judge's, over uneven lengths; in float32 too, and with sizes that are odd."""
    cases = [hostile(row.deep), _wide(row, torch.float64)]
    # Many turns of a time amplify float32's rounding beyond any tolerance that could still see a bug.
    cases += [] if row.spec.cell == "phased" else [_wide(row, torch.float32)]
    for case in cases:
        _expect_judged(row, engine, case, lengths=case.lengths)


def _wide(row: Row, dtype: torch.dtype) -> Hostile:
    """Smaller weights keep longer sums from closing the gates, behind which no bug would be seen."""
    case = hostile(row.wide, batch=4, dtype=dtype)
    return replace(case, parameters={name: 0.4 * value for name, value in case.parameters.items()})


def check_trace(row: Row, engine: str) -> None:
    """The same with resets, and with cells and gates, through which gradients flow back as well."""
    case = hostile(row.deep, steps=7)
    wanted = {"return_gates": True} | ({"return_cells": True} if _returns_cells(row) else {})
    _expect_judged(row, engine, case, lengths=case.lengths, resets=case.resets, **wanted)


def _returns_cells(row: Row) -> bool:
    return row.spec.entry.states.get("c") == "H"


def _expect_judged(row: Row, engine: str, case: Hostile, **options: Any) -> None:
    layer = row.build(case, engine)
    names = ["x", *case.spec.state_shapes(), *case.parameters]
    ours = _everything(lambda x, hx: run(layer, case, x, hx, **options), case.x, case.hx, layer)
    judge = row.build(case, "reference")
    if engine != "reference":
        theirs = _everything(lambda x, hx: run(judge, case, x, hx, **options), case.x, case.hx, judge)
    else:
        theirs = _everything(lambda x, hx: _by_equations(judge, case, x, hx, **options), case.x, case.hx, judge)
    outputs = len(ours) - len(names)
    for name, left, right in zip([*range(outputs), *names], ours, theirs, strict=True):
        close(left, right, f"{case.clean.dtype} {name}")


def _everything(call: Call, x: Tensor, hx: Tensors, layer: Any) -> Tensors:
    """What comes out, and its gradients with respect to input, states and parameters."""
    x, hx = leaves(x, hx)
    outputs = call(x, hx)
    return *(value.detach() for value in outputs), *gradients(outputs, [x, *hx, *layer.parameters()])


def _by_equations(layer: Any, case: Hostile, x: Tensor, hx: Tensors, **options: Any) -> Tensors:
    """Autograd through the equations, or through plain Python where that is made of tensors."""
    parameters = dict(layer.named_parameters())
    if case.spec.cell == "lstm" or "return_gates" in options:
        result = run_sequence(torch, case.spec, parameters, x, hx, extra=case.extra, **options)
        trace = [*(result.cells or ()), *(value for own in result.gates or () for value in own.values())]
        return result.output, *result.state, *trace
    wide = {name: value.double() for name, value in parameters.items()}
    extra = None if case.extra is None else case.extra.double()
    padding = case.x.isnan()
    real = x.masked_fill(padding, 0.0).double()
    found = run_plain(case.spec, wide, real, tuple(value.double() for value in hx), extra, **options)
    return tuple(value.to(x.dtype) for value in (found.output, *found.state))


def check_finite_differences(row: Row, engine: str) -> None:
    """Every gradient is the derivative of the outputs."""
    function, values = _as_function(row, engine)
    assert torch.autograd.gradcheck(function, values, fast_mode=True)


def check_second_derivative(row: Row, engine: str) -> None:
    """And can itself be differentiated."""
    function, values = _as_function(row, engine)
    assert torch.autograd.gradgradcheck(function, values, fast_mode=True)


def _as_function(row: Row, engine: str) -> tuple[Callable[..., Tensors], Tensors]:
    case = hostile(row.deep, steps=3, batch=2)
    layer = row.build(case, engine)
    x, hx = leaves(case.clean, case.hx)
    names, n = [name for name, _ in layer.named_parameters()], len(hx)

    def function(x: Tensor, *rest: Tensor) -> Tensors:
        parameters = dict(zip(names, rest[n:], strict=True))

        def call(*arguments: Any, **options: Any) -> Any:
            return torch.func.functional_call(layer, parameters, arguments, options)

        return run(call, case, x, rest[:n], lengths=case.lengths)

    return function, (x, *hx, *layer.parameters())


def check_split(row: Row, engine: str) -> None:
    """A sequence in two parts, the second from where the first ended, is the whole."""
    case = hostile(row.spec, steps=7)
    layer = row.build(case, engine)
    output, *state = run(layer, case, case.clean, case.hx)
    for cut in (1, 3, 6):
        head, *between = run(layer, case, case.clean[:cut], case.hx, at=slice(0, cut))
        tail, *last = run(layer, case, case.clean[cut:], between, at=slice(cut, 7))
        _expect_close((torch.cat([head, tail]), *last), (output, *state))


def check_lengths(row: Row, engine: str) -> None:
    """A row is what it is alone, padded or packed."""
    case = hostile(row.deep)
    layer = row.build(case, engine)
    output, *state = run(layer, case, case.x, case.hx, lengths=case.lengths)
    if row.spec.entry.extra is None and not row.spec.kernel_size:
        packed, last = layer(pack_padded_sequence(case.x, case.lengths, enforce_sorted=False), one(case.hx))
        _expect_close(flat((pad_packed_sequence(packed, total_length=5)[0], last)), (output, *state))
    for b, length in enumerate(case.lengths.tolist()):
        hx = tuple(value[:, b] for value in case.hx)
        alone, *ends = run(layer, case, case.x[:length, b], hx, at=(slice(0, length), b))
        _expect_close((alone, *ends), (output[:length, b], *(value[:, b] for value in state)))
        assert (output[length:, b] == 0).all()


def check_padding(row: Row, engine: str) -> None:
    """What stands beyond a length changes no value and no gradient, whatever it is."""
    case = hostile(row.deep)
    layer = row.build(case, engine)

    def everything(filler: float) -> Tensors:
        x = torch.where(case.x.isnan(), filler, case.x)
        return _everything(lambda x, hx: run(layer, case, x, hx, lengths=case.lengths), x, case.hx, layer)

    clean = everything(0.0)
    for filler in (torch.nan, torch.inf, 7.0):
        dirty = everything(filler)
        assert all(torch.equal(left, right) for left, right in zip(dirty, clean, strict=True))
    assert (clean[1 + len(case.hx)][case.x.isnan()] == 0).all()


def check_order(row: Row, engine: str) -> None:
    """Rows do not see each other."""
    case = hostile(row.deep, batch=4)
    layer, order = row.build(case, engine), torch.tensor([2, 0, 3, 1])
    results = run(layer, case, case.x, case.hx, lengths=case.lengths)
    hx = tuple(value[:, order] for value in case.hx)
    shuffled = run(layer, case, case.x[:, order], hx, at=(slice(None), order), lengths=case.lengths[order])
    _expect_close(shuffled, [value[:, order] for value in results])


def check_resets(row: Row, engine: str) -> None:
    """A reset is the end of one sequence and the start of another."""
    case = hostile(row.spec, steps=6)
    layer, resets = row.build(case, engine), torch.zeros(6, 3, dtype=torch.bool)
    resets[2] = True
    head, *_ = run(layer, case, case.clean[:2], case.hx, at=slice(0, 2))
    tail, *last = run(layer, case, case.clean[2:], at=slice(2, 6))
    _expect_close(run(layer, case, case.clean, case.hx, resets=resets), (torch.cat([head, tail]), *last))


def check_transforms(row: Row, engine: str) -> None:
    """vmap over batches is a loop over them, and gives a gradient per sample."""
    case = hostile(row.deep)
    layer = row.build(case, engine)
    xs = torch.randn(2, *case.clean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    parameters = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        def call(*arguments: Any, **options: Any) -> Any:
            return torch.func.functional_call(layer, dict(parameters), arguments, options)

        return run(call, case, x, lengths=case.lengths)[0].square().sum()

    together = torch.func.vmap(lambda x: run(layer, case, x, lengths=case.lengths))(xs)
    every = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, xs)
    for n, x in enumerate(xs):
        outputs = run(layer, case, x, lengths=case.lengths)
        _expect_close([value[n] for value in together], outputs)
        own = [*layer.parameters()]
        alone = torch.autograd.grad(outputs[0].square().sum(), own, allow_unused=True, materialize_grads=True)
        _expect_close([value[n] for value in every.values()], alone)


def check_compiled(row: Row, engine: str) -> None:
    """torch.compile finds one graph, whose values and gradients are those outside of it."""
    case = hostile(row.deep)
    layer = row.build(case, engine)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    results = [
        _everything(lambda x, hx, call=call: run(call, case, x, hx, lengths=case.lengths), case.x, case.hx, layer)
        for call in (compiled, layer)
    ]
    _expect_close(*results)


def check_exported(row: Row, engine: str) -> None:
    """torch.export gives a program for every batch and length, with one node per layer."""
    case = hostile(row.deep)
    layer = row.build(case, engine)
    time, batch = torch.export.Dim("time", min=1), torch.export.Dim("batch", min=1)
    shapes: dict[str, Any] = {"input": {0: time, 1: batch}, "lengths": {0: batch}}
    for name in beside(case):
        shapes[name] = {0: batch} if name == "static" else {0: time, 1: batch}
    arguments = {"lengths": case.lengths, **beside(case)}
    program = torch.export.export(layer.eval(), (case.clean,), arguments, dynamic_shapes=shapes)
    nodes, ops = [node.target for node in program.graph.nodes], torch.ops.lstmkit
    assert nodes.count(ops.cell_layer.default) + nodes.count(ops.lstm_layer.default) == case.spec.num_layers
    other = hostile(row.deep, steps=8, batch=4, seed=2)
    exported = program.module()
    arguments = {"lengths": other.lengths, **beside(other)}
    _expect_close(flat(exported(other.clean, **arguments)), flat(layer(other.clean, **arguments)))


def check_file(row: Row, engine: str) -> None:
    """A model file predicts without torch what the layer computes, from no state and from one that was learnt."""
    for learns in (False, True):
        case, layer, model = _serve(row, engine, learns)
        expected = run(layer, case, case.clean)[0].transpose(0, 1).detach()
        with _runtime(engine):
            found = model.predict(_served_input(case).transpose(0, 1).numpy())
        close(torch.from_numpy(found), expected)


def check_stream(row: Row, engine: str) -> None:
    """A stream is the sequence: step by step, in a pool, and moved to another stream halfway."""
    case, layer, model = _serve(row, engine, True)
    expected = run(layer, case, case.clean)[0].transpose(0, 1).detach()
    given = _served_input(case)
    x = given.transpose(0, 1).contiguous().numpy()
    space = {"space": tuple(given.shape[3:])} if given.dim() > 3 else {}
    with _runtime(engine):
        stream, halfway, moved = (model.stream(**space) for _ in range(3))
        pool = model.pool(len(x), **space)
        steps = [stream.step(step) for step in x[0]]
        batches = [pool.step(step) for step in given.numpy()]
        halfway.run(x[0, :2])
        moved.state = dict(halfway.state)
        rest = moved.run(x[0, 2:])
    close(torch.from_numpy(np.stack(steps)), expected[0])
    close(torch.from_numpy(np.stack(batches, 1)), expected)
    close(torch.from_numpy(rest), expected[0, 2:])


def _served_input(case: Hostile) -> Tensor:
    """What a layer reads beside its input are the last columns of what is served."""
    return case.clean if case.extra is None else torch.cat([case.clean, case.extra], 2)


def _stage(spec: CellSpec, learns: bool) -> Stage:
    return Stage("memory", "recurrent", ("x",), {"cell": spec.to_dict(), "learn_initial_state": learns})


def _serve(row: Row, engine: str, learns: bool) -> tuple[Hostile, Any, Any]:
    """A case in float32, its layer as training has it, and what was loaded from the file of it."""
    case = hostile(row.spec, dtype=torch.float32)
    staged = nn.StagedModel([_stage(row.spec, learns)]).eval()
    layer: Any = staged.parts["memory"]
    layer.load_state_dict(case.parameters, strict=not learns)
    for name, value in zip(row.spec.state_shapes(), case.hx, strict=True):
        if learns:
            everywhere = [0] * len(row.spec.kernel_size)
            getattr(layer, f"{name}_0").data.copy_(value[:, 0][(..., *everywhere)])
    layer.batch_first = False
    with tempfile.TemporaryDirectory() as folder, _runtime(engine):
        path = Path(folder, "model.safetensors")
        nn.save_model(path, staged)
        return case, layer, lstmkit.load(path)


@contextmanager
def _runtime(engine: str) -> Iterator[None]:
    """The runtime as it is on a machine that has the native core, or that has none."""
    if engine == "native":
        yield
        return
    absent = replace(native_status(), available=False, reason="it was taken away")
    with patch.object(recurrence, "native_status", lambda: absent):
        yield


@dataclass(frozen=True)
class Check:
    """A column of the table.

    Args:
        title: Its head.
        run: What asserts it.
        asks: What its calls ask of an engine, by the arguments of ``explain_engine``.
        transforms: Whether its calls stand under torch.func.
        served: Whether it is the runtime that computes.
    """

    title: str
    run: Callable[[Row, str], None]
    asks: Mapping[str, bool] = field(default_factory=lambda: {"lengths": True})
    transforms: bool = False
    served: bool = False


EVERYTHING = {"lengths": True, "resets": True, "return_gates": True}
CHECKS = {
    check.title: check
    for check in (
        Check("values", check_values),
        Check("gradients", check_gradients),
        Check("trace", check_trace, EVERYTHING),
        Check("differences", check_finite_differences),
        Check("second", check_second_derivative),
        Check("split", check_split, {}),
        Check("lengths", check_lengths),
        Check("padding", check_padding),
        Check("order", check_order),
        Check("resets", check_resets, {"resets": True}),
        Check("vmap", check_transforms, transforms=True),
        Check("compiled", check_compiled),
        Check("exported", check_exported),
        Check("file", check_file, served=True),
        Check("stream", check_stream, served=True),
    )
}

# Not the derivative of their outputs.
TRUNCATED = ("lstm1997",)
# What compares calls in which other masks are drawn.
_SEVERAL_DRAWS = ("split", "lengths", "order", "resets", "vmap")
_EVALUATION = ("exported", "file", "stream")


def find_gap(row: Row, check: Check, engine: str) -> str | None:
    """Why there is nothing to check in a square; None where there is."""
    if check.served and engine == "torch":
        return "the runtime works without torch"
    if row.spec.cell in TRUNCATED and check.title in ("differences", "second"):
        return "its gradient is truncated, by its paper's rule, and so no derivative of its outputs"
    if not row.training:
        return None
    if engine == "torch" and check.title in ("gradients", "compiled") and set(row.rates) == {"dropout"}:
        return "in its one call for all layers ATen draws other masks from the same seed"
    if check.title in _EVALUATION:
        return "what is served evaluates and draws no masks: the row of the same cell without them has this square"
    if check.title in _SEVERAL_DRAWS:
        return "masks are drawn for every call and row, so two calls that should agree have others"
    if check.title == "values" or (engine == "reference" and check.title in ("gradients", "trace")):
        return (
            "under masks, plain Python judges the reference's values and finite differences its gradients "
            "(tests/nn/test_regularisers.py); the reference judges other engines, under gradients"
        )
    return None


# What has no numbers worked by hand, and why it needs none.
NOT_BY_HAND = {
    **{
        f"lstm {name}": "it multiplies what goes into a layer, or a weight, by zeros; the step is the plain LSTM's"
        for name in ("dropout", "input_dropout", "weight_dropout", "all-drawn")
    },
    "lstm layer-sizes": "the step is the plain LSTM's; plain Python has the sizes",
    "lstm residual": "the step is the plain LSTM's; plain Python adds what goes past it",
    "lstm highway": "the step is the plain LSTM's; plain Python has the gate of what goes past it",
    "slstm heads": "a head is a cell of its own; tests/nn/test_xlstm.py shows that heads do not mix",
    "mlstm heads": "a head is a cell of its own; tests/nn/test_xlstm.py shows that heads do not mix",
}
TABLE_ROWS = [*ROWS, *(cell for cell, entry in CATALOG.items() if entry.driver == "tree")]


def explain_gap(row: str, check: str, engine: str) -> str | None:
    """Why a square of the table has no test; None where nobody can say."""
    if check not in CHECKS:
        return NOT_BY_HAND.get(row)
    if row in ROWS:
        return find_gap(ROWS[row], CHECKS[check], engine)
    if engine == "reference":
        return "a forest has no steps and no states that go on: it has nodes in another order"
    return "nodes run level by level, as torch operations on any device; there is no other engine"


def find_refusal(row: Row, check: Check, engine: str) -> str | None:
    """What an engine says against such a call; None where it takes it."""
    try:
        if check.served:
            _ask_runtime(row.spec, engine)
        else:
            _ask_layer(row, check, engine)
    except EngineError as error:
        return str(error)
    except OptionError as error:
        if check.served:
            return str(error)
        raise
    return None


def _ask_runtime(spec: CellSpec, engine: str) -> None:
    """Only the native core has more than one precision, so asking for another makes it say why it is not there."""
    _stage(spec, False).parameter_shapes()
    if engine == "native" and recurrence.find_core("float32", spec) is None:
        recurrence.find_core("bfloat16", spec)


def _ask_layer(row: Row, check: Check, engine: str) -> None:
    case = hostile(row.deep, steps=1)
    layer = row.build(case, engine)
    if check.transforms:
        torch.func.vmap(lambda x: (layer.explain_engine(**check.asks), x)[1])(case.clean)
    else:
        layer.explain_engine(**check.asks)


def call_what_is_refused(row: Row, check: Check, engine: str) -> None:
    """The call itself: an engine that says no must not compute."""
    if check.served:
        _ask_runtime(row.spec, engine)
        return
    case = hostile(row.deep)
    layer = row.build(case, engine)
    given = {"lengths": case.lengths, "resets": case.resets, "return_gates": True}
    options = {name: given[name] for name in check.asks}
    if check.transforms:
        torch.func.vmap(lambda x: run(layer, case, x, **options))(case.clean[None])
    else:
        run(layer, case, case.clean, **options)
