"""torch.compile and torch.export: one node per layer each way, for every batch and time; which engine is chosen."""

import io
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from helpers.hostile import close
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch.fx import GraphModule, Node

from lstmkit import nn
from lstmkit.ops import native_available
from lstmkit.ops.native import Wants

NEEDS_CORE = pytest.mark.skipif(not native_available(), reason="the native core was not built")
NATIVE = pytest.param("native", marks=NEEDS_CORE)
I, H, LAYERS = 3, 5, 2
FORWARD = torch.ops.lstmkit.lstm_layer.default
BACKWARD = torch.ops.lstmkit.lstm_layer_backward.default


def make(engine: str | None, **options: Any) -> nn.LSTM:
    torch.manual_seed(6)
    return nn.LSTM(I, H, LAYERS, bidirectional=True, engine=engine, **options)


def draw(steps: int, batch: int, seed: int = 0) -> tuple[Tensor, dict[str, Any]]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(steps, batch, I, generator=generator)
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    return x, {"lengths": lengths, "resets": torch.rand(steps, batch, generator=generator) < 0.3}


class Graphs:
    """A compiler that keeps what it is given and runs it as it is."""

    def __init__(self) -> None:
        torch._dynamo.reset()
        self.forwards: list[GraphModule] = []
        self.backwards: list[GraphModule] = []

    def compile(self, layer: nn.LSTM, **options: Any) -> Any:
        def keep(graphs: list[GraphModule]) -> Any:
            return lambda graph, _: graphs.append(graph) or make_boxed_func(graph.forward)

        backend = aot_autograd(fw_compiler=keep(self.forwards), bw_compiler=keep(self.backwards))
        return torch.compile(layer, fullgraph=True, backend=backend, **options)


def nodes(graph: Any, target: Any) -> list[Node]:
    return [node for node in graph.graph.nodes if node.target is target]


def argument(node: Node, name: str) -> Any:
    names = [value.name for value in node.target._schema.arguments]  # pyright: ignore
    return node.args[names.index(name)]


@pytest.mark.parametrize("engine", ["torch", "reference", NATIVE])
@pytest.mark.parametrize("options", [{}, {"checkpoint_steps": 3}], ids=str)
def test_compiled_training__matches_eager__one_node_each_way(engine: str, options: dict[str, Any]) -> None:
    if engine == "torch":
        options = {}
    layer, graphs = make(engine, **options), Graphs()
    call = graphs.compile(layer, dynamic=True)
    for steps, batch, seed in ((6, 4, 1), (9, 2, 2), (5, 7, 3)):
        x, extras = draw(steps, batch, seed)
        if engine == "torch":
            del extras["resets"]
        results = []
        for run in (call, layer):
            output, (h, c) = run(x, **extras)
            total = output.sin().sum() + h.sum() + c.square().sum()
            results.append([output, h, c, *torch.autograd.grad(total, [*layer.parameters()])])
        for left, right in zip(*results, strict=True):
            close(left, right)
    assert len(graphs.forwards) == len(graphs.backwards) == 1
    assert len(nodes(graphs.forwards[0], FORWARD)) == len(nodes(graphs.backwards[0], BACKWARD)) == LAYERS
    assert {argument(node, "engine") for node in nodes(graphs.forwards[0], FORWARD)} == {engine}
    wants = [Wants(*argument(node, "wants")) for node in nodes(graphs.backwards[0], BACKWARD)]
    assert wants == [Wants(x=True, state=False), Wants(x=False, state=False)]


@pytest.mark.parametrize("engine", ["reference", NATIVE])
def test_compiled_inference__never_keeps_a_trace(engine: str) -> None:
    layer, graphs = make(engine), Graphs()
    x, extras = draw(6, 4)
    with torch.no_grad():
        close(graphs.compile(layer)(x, **extras)[0], layer(x, **extras)[0])
    calls = nodes(graphs.forwards[0], FORWARD)
    assert [argument(node, "trace") for node in calls] == [False] * LAYERS


@NEEDS_CORE
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled__chooses_native__in_the_same_process(dynamic: bool) -> None:
    layer, graphs = make(None), Graphs()
    x, extras = draw(6, 4)
    close(graphs.compile(layer, dynamic=dynamic)(x, **extras)[0], layer(x, **extras)[0])
    assert {argument(node, "engine") for node in nodes(graphs.forwards[0], FORWARD)} == {"native"}


@NEEDS_CORE
def test_compiled__equals_eager_choice__large_weights_and_rows() -> None:
    """The choice never looks at the batch, so one graph serves every one."""
    layer, graphs = nn.LSTM(400, 400), Graphs()
    call = graphs.compile(layer, dynamic=True)
    with torch.no_grad():
        for batch in (2, 3, 20, 30):
            x = torch.randn(1, batch, 400)
            call(x)
            assert layer.explain_engine(x).engine == "native"
    chosen = [argument(node, "engine") for graph in graphs.forwards for node in nodes(graph, FORWARD)]
    assert chosen == ["native"]


@pytest.mark.parametrize("engine", ["torch", "reference", NATIVE])
@pytest.mark.parametrize("strict", [False, True])
def test_export__equals_module__every_batch_and_time(engine: str, strict: bool) -> None:
    layer = make(engine).eval()
    x, extras = draw(6, 4)
    if engine == "torch":
        del extras["resets"]
    time, batch = torch.export.Dim("time", min=1), torch.export.Dim("batch", min=1)
    axes = {"lengths": {0: batch}, "resets": {0: time, 1: batch}}
    shapes = {"input": {0: time, 1: batch}, **{name: axes[name] for name in extras}}
    program = torch.export.export(layer, (x,), extras, dynamic_shapes=shapes, strict=strict)
    assert len(nodes(program, FORWARD)) == LAYERS
    memory = io.BytesIO()
    torch.export.save(program, memory)
    memory.seek(0)
    loaded = torch.export.load(memory).module()
    for steps, rows in ((9, 2), (1, 1), (3, 20)):
        x, given = draw(steps, rows, seed=steps)
        given = {name: given[name] for name in extras}
        output, (h, c) = loaded(x, **given)
        expected, state = layer(x, **given)
        for left, right in zip((output, h, c), (expected, *state), strict=True):
            close(left, right)


def test_export__never_chooses_native__which_may_be_absent_elsewhere() -> None:
    x, extras = draw(6, 4)
    chosen = {}
    for name, given in (("torch", {}), ("reference", extras)):
        program = torch.export.export(make(None).eval(), (x,), given)
        chosen[name] = {argument(node, "engine") for node in nodes(program, FORWARD)}
    assert chosen == {"torch": {"torch"}, "reference": {"reference"}}


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.trace_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_trace__equals_module__other_batch_and_time() -> None:
    """An engine behind addresses would leave a constant in the trace."""
    layer = make(None).eval()
    traced: Any = torch.jit.trace(layer, draw(6, 4)[0])
    x, _ = draw(9, 2)
    close(traced(x)[0], layer(x)[0])


@NEEDS_CORE
def test_dispatch_modes_and_fake_tensors__see_one_node() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    layer, (x, extras) = make("native"), draw(6, 4)
    with torch.no_grad():
        graph = make_fx(lambda x: layer(x, **extras)[0])(x)
        assert len(nodes(graph, FORWARD)) == LAYERS
        other = draw(6, 4, seed=3)[0]
        close(graph(other), layer(other, **extras)[0])
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert layer(mode.from_tensor(x))[0].shape == (6, 4, 2 * H)
