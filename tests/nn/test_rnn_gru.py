"""What nn.RNN and nn.GRU share with torch's layers."""

from math import exp, tanh
from statistics import NormalDist
from typing import Any

import pytest
import torch
from helpers.hostile import close, hostile
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from lstmkit import nn
from lstmkit.ops import native_available
from lstmkit.spec import CellSpec, EngineError, OptionError

KINDS = {"RNN": {}, "RNN-relu": {"nonlinearity": "relu"}, "GRU": {}}
OPTIONS = [
    {},
    {"num_layers": 2, "bias": False, "batch_first": True},
    {"num_layers": 3, "dropout": 0.4, "bidirectional": True},
]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
NATIVE = pytest.param(
    "native", marks=pytest.mark.skipif(not native_available(), reason="the native core was not built")
)
EVERY_ENGINE = pytest.mark.parametrize("engine", ["torch", "reference", NATIVE])


def pair(kind: str, *sizes: int, engine: str | None = None, seed: int = 3, **options: Any) -> list[Any]:
    """Our layer and torch's, drawn from one seed."""
    layers = []
    for family, own in ((nn, {"engine": engine}), (torch.nn, {})):
        torch.manual_seed(seed)
        layers.append(getattr(family, kind.partition("-")[0])(*sizes, **KINDS[kind], **options, **own))
    return layers


@EVERY_KIND
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_layer__equals_torch__same_seed(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = pair(kind, 4, 6, **options)
    if kind != "RNN-relu":
        assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for left, right in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
    x = torch.randn(5, 3, 4).transpose(0, 1)
    ours.engine = "torch"
    results = []
    for layer in (ours, theirs):
        torch.manual_seed(4)
        results.append(layer(x))
    for left, right in zip(*results, strict=True):
        assert torch.equal(left, right)


@EVERY_KIND
@EVERY_ENGINE
@pytest.mark.parametrize("form", ["unbatched", "time first", "batch first", "packed", "packed sorted"])
@pytest.mark.parametrize("given", ["no state", "state"])
def test_layer__matches_torch__every_form_of_input(kind: str, engine: str, form: str, given: str) -> None:
    first = form == "batch first"
    ours, theirs = pair(kind, 3, 5, 2, engine=engine, bidirectional=True, batch_first=first, dtype=torch.float64)
    case = hostile(CellSpec(3, 5, 2, bidirectional=True, cell="gru"))
    x, hx = case.clean, case.hx[0]
    if form == "unbatched":
        x, hx = x[:, 1], hx[:, 1]
    if first:
        x = x.transpose(0, 1)
    if form == "packed":
        x = pack_padded_sequence(x, case.lengths, enforce_sorted=False)
    if form == "packed sorted":
        x = pack_sequence([x[:5, 0], x[:3, 1], x[:3, 2]])
    state = hx if given == "state" else None
    (output, last), (expected, expected_last) = ours(x, state), theirs(x, state)
    if form.startswith("packed"):
        assert torch.equal(output.batch_sizes, expected.batch_sizes)
        output, expected = output.data, expected.data
    close(output, expected)
    close(last, expected_last)


@EVERY_KIND
@EVERY_ENGINE
@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_layer__matches_torch__lengths_and_all_gradients(kind: str, engine: str, way: str) -> None:
    ours, theirs = pair(kind, 3, 5, 2, engine=engine, bidirectional=True, dtype=torch.float64)
    case = hostile(CellSpec(3, 5, 2, bidirectional=True, cell="gru"))
    torch._dynamo.reset()
    call = ours if way == "eager" else torch.compile(ours, fullgraph=True, backend="aot_eager", dynamic=True)
    x, h, clean, h_clean = (v.detach().clone().requires_grad_() for v in (case.x, case.hx[0], case.clean, case.hx[0]))
    output, last = call(x, h, lengths=case.lengths)
    packed, expected_last = theirs(pack_padded_sequence(clean, case.lengths, enforce_sorted=False), h_clean)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(packed)
    found, wanted = (weighted_sum(a, b) for a, b in ((output, last), (expected, expected_last)))
    close(found, wanted)
    grads = torch.autograd.grad(found, [x, h, *ours.parameters()])
    for left, right in zip(grads, torch.autograd.grad(wanted, [clean, h_clean, *theirs.parameters()]), strict=True):
        close(left, right)


def weighted_sum(*values: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    parts = [(v * torch.randn(v.shape, generator=generator, dtype=v.dtype)).sum() for v in values]
    return torch.stack(parts).sum()


@pytest.mark.square("by hand", "gru", "gru reset-before", engine="reference")
def test_gru__matches_hand_worked_step__both_conventions() -> None:
    """One unit, x = 1, h = 1/2: r = z = sigmoid(0) = 1/2, and a candidate whose argument is worked out by hand.

    After: 1 + 1/4 + 1/2 * (2 * 1/2 + 1/2) = 2. Before: 1 + 1/4 + 2 * (1/2 * 1/2) + 1/2 = 9/4.
    """
    for reset_after, argument in ((True, 2.0), (False, 2.25)):
        layer = nn.GRU(1, 1, reset_after=reset_after, dtype=torch.float64)
        values = {
            "weight_ih_l0": [[0.0], [0.0], [1.0]],
            "weight_hh_l0": [[0.0], [0.0], [2.0]],
            "bias_ih_l0": [0.0, 0.0, 0.25],
            "bias_hh_l0": [0.0, 0.0, 0.5],
        }
        layer.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})
        output, h, trace = layer(
            torch.ones(1, 1, 1, dtype=torch.float64), torch.full((1, 1, 1), 0.5, dtype=torch.float64), return_gates=True
        )
        n = torch.tanh(torch.tensor(argument, dtype=torch.float64))
        close(output, (0.5 * n + 0.25).expand(1, 1, 1))
        close(h, output)
        close(trace.gates[0]["n"], n.expand(1, 1, 1))
        close(trace.gates[0]["z"], torch.full((1, 1, 1), 0.5, dtype=torch.float64))


@pytest.mark.square("by hand", "gru activations", "gru clip", "gru gelu", engine="reference")
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru__matches_hand_worked_step__activations_and_clip(reset_after: bool) -> None:
    """One unit, x = 1, h = 1/2, where the sums of r, z and n are 3, -1 and 2 + 4 r h, within +-1: 1, -1 and 1.

    hard_sigmoid(1) = 2/3 = r, hard_sigmoid(-1) = 1/3 = z, softsign(1) = 1/2 = n: h = 2/3 * 1/2 + 1/3 * 1/2. Without the
    clip hard_sigmoid(3) = 1 and softsign(2 + 4 * 1 * 1/2) = 4/5: h = 2/3 * 4/5 + 1/3 * 1/2. With the sigmoid r is
    1 / (1 + e^-3), z is 1 / (1 + e), and gelu(s) the part s of the normal distribution below s = 2 + 2 r.
    """
    curves: Any = {"gate_activation": "hard_sigmoid", "candidate_activation": "softsign"}
    squashed = 1 / (1 + exp(-3))
    below = (2 + 2 * squashed) * NormalDist().cdf(2 + 2 * squashed)
    for options, r, z, n in (
        (curves | {"gate_clip": 1.0}, 2 / 3, 1 / 3, 1 / 2),
        (curves, 1.0, 1 / 3, 4 / 5),
        ({"candidate_activation": "gelu"}, squashed, 1 / (1 + exp(1)), below),
    ):
        layer = nn.GRU(1, 1, bias=False, reset_after=reset_after, dtype=torch.float64, engine="reference", **options)
        values = {"weight_ih_l0": [[3.0], [-1.0], [2.0]], "weight_hh_l0": [[0.0], [0.0], [4.0]]}
        layer.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})
        x, h = torch.ones(1, 1, 1, dtype=torch.float64), torch.full((1, 1, 1), 0.5, dtype=torch.float64)
        output, _, trace = layer(x, h, return_gates=True)
        found = [*(trace.gates[0][letter].item() for letter in "rzn"), output.item()]
        assert found == pytest.approx([r, z, n, (1 - z) * n + z / 2], abs=1e-15)


@pytest.mark.square("by hand", "rnn", "rnn relu", "rnn scaled-tanh", "rnn elu", "rnn clip", engine="reference")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"nonlinearity": "relu"}, [1.0, 0.0, 3.0]),
        ({"nonlinearity": "tanh"}, [tanh(1), tanh(tanh(1) - 7), tanh(tanh(tanh(1) - 7) + 3)]),
        (
            {"nonlinearity": ("tanh", 2.0, 0.5)},
            [(s := 2 * tanh(0.5)), (u := 2 * tanh(s / 2 - 3.5)), 2 * tanh(u / 2 + 1.5)],
        ),
        ({"nonlinearity": ("elu", 0.5)}, [1.0, 0.5 * (exp(-6) - 1), 0.5 * (exp(-6) - 1) + 3]),
        ({"nonlinearity": "relu", "gate_clip": 0.75}, [0.75, 0.0, 0.75]),
        ({"nonlinearity": "identity", "gate_clip": 2.0}, [1.0, -2.0, 1.0]),
    ],
    ids=str,
)
def test_rnn__matches_hand_worked_steps(options: dict[str, Any], expected: list[float]) -> None:
    """x = 1, -3, 2 with h <- a(2 x + h - 1): a(1), a(h - 7), a(h + 3)."""
    layer = nn.RNN(1, 1, engine="reference", **options)
    values = {"weight_ih_l0": [[2.0]], "weight_hh_l0": [[1.0]], "bias_ih_l0": [-2.0], "bias_hh_l0": [1.0]}
    layer.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    output, _ = layer(torch.tensor([[1.0], [-3.0], [2.0]]))
    close(output, torch.tensor(expected)[:, None])


def test_explanation__matches_what_runs() -> None:
    layer = nn.GRU(3, 5, dtype=torch.float16)
    assert layer.explain_engine().engine == "torch"
    assert layer.explain_engine(resets=True).engine == "reference"
    before = nn.GRU(3, 5, reset_after=False, candidate_activation="gelu").explain_engine()
    assert "ATen's gru does not have reset_after, candidate_activation" in str(before)
    assert "the native core has no activation gelu" in str(before)
    if native_available():
        assert nn.GRU(3, 5).explain_engine(resets=True).engine == "native"
        assert nn.GRU(3, 5, reset_after=False).explain_engine().engine == "native"
        assert nn.RNN(3, 5, nonlinearity="relu").explain_engine().engine == "native"
    insisting = nn.GRU(3, 5, engine="torch")
    with pytest.raises(EngineError, match="'torch' cannot run this: ATen has no resets"):
        insisting(torch.randn(4, 2, 3), resets=torch.zeros(4, 2, dtype=torch.bool))
    with pytest.raises(EngineError, match="the native core has no activation gelu"):
        nn.GRU(3, 5, candidate_activation="gelu", engine="native")(torch.randn(4, 2, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.RNN(3, 5, nonlinearity="glu"), "nonlinearity must be one of sigmoid, tanh, .*, not 'glu'"),
        (
            lambda: nn.RNN(3, 5, nonlinearity=("relu", 1.0, 0.0)),
            "nonlinearity: 'relu' takes no constants, not 2",
        ),
        (lambda: nn.RNN(3, 5, gate_clip=0), "gate_clip must be None or a bound above 0, not 0"),
        (lambda: nn.GRU(3, 5, gate_activation="glu"), "gate_activation must be one of sigmoid, .*, not 'glu'"),
        (lambda: nn.GRU(3, 5, reset_after=1), "reset_after must be True or False, not 1"),
        (lambda: nn.GRU(3, 0), "hidden_size"),
        (lambda: nn.GRU(3, 5, dropout=2.0), "dropout must be a probability"),
        (lambda: nn.GRU(3, 5)(torch.randn(4, 2, 3), return_cells=True), "GRU has no cell state to return"),
        (
            lambda: CellSpec(3, 5, cell="gru", proj_size=2),
            "'gru' has no option proj_size; it has: reset_after",
        ),
        (lambda: nn.GRU(3, 5)(pack_sequence([torch.randn(4, 3)]), return_gates=True), "combined with return_gates"),
    ],
)
def test_layer__rejects_impossible(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
