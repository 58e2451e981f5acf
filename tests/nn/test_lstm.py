"""What nn.LSTM shares with torch.nn.LSTM, and what it adds."""

import copy
import io
import warnings
from typing import Any

import pytest
import torch
from helpers.hostile import close, hostile
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from lstmkit import nn
from lstmkit.ops import native_available
from lstmkit.spec import CellSpec, EngineError, OptionError, ShapeError

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

OPTIONS = [
    {},
    {"num_layers": 2, "bias": False, "batch_first": True},
    {"num_layers": 3, "dropout": 0.4, "bidirectional": True, "proj_size": 2},
]


def test_snippet__matches_torch__one_import_changed() -> None:
    lstm_layer = nn.LSTM(input_size=10, hidden_size=20, num_layers=2, batch_first=True)
    output, (hn, cn) = lstm_layer(torch.randn(5, 3, 10))
    assert output.shape == torch.Size([5, 3, 20])
    assert hn.shape == cn.shape == torch.Size([2, 5, 20])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_layer__matches_torch__same_seed(options: dict[str, Any]) -> None:
    layers = []
    for family in (nn, torch.nn):
        torch.manual_seed(3)
        layers.append(family.LSTM(4, 6, **options))
    ours, theirs = layers
    assert repr(ours) == repr(theirs)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert len(ours.all_weights) == len(theirs.all_weights)
    for left, right in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
    x = torch.randn(5, 3, 4).transpose(0, 1)
    results = []
    for layer in layers:
        torch.manual_seed(4)
        results.append(layer(x))
    for left, right in zip((results[0][0], *results[0][1]), (results[1][0], *results[1][1]), strict=True):
        close(left, right)


@pytest.mark.parametrize("engine", ["torch", "reference"])
@pytest.mark.parametrize("given", ["no state", "state"])
@pytest.mark.parametrize("form", ["unbatched", "time first", "batch first", "packed", "packed sorted"])
def test_layer__matches_torch__every_form_of_input(form: str, given: str, engine: str) -> None:
    spec = CellSpec(3, 5, 2, bidirectional=True)
    case = hostile(spec)
    options: Any = {"bidirectional": True, "dtype": torch.float64, "batch_first": form == "batch first"}
    ours, theirs = nn.LSTM(3, 5, 2, **options, engine=engine), torch.nn.LSTM(3, 5, 2, **options)
    for layer in (ours, theirs):
        layer.load_state_dict(case.parameters)
    hx = None if given == "no state" else case.hx
    x: Any = case.clean
    if form == "unbatched":
        x, hx = x[:, 1], hx and (hx[0][:, 1], hx[1][:, 1])
    if form == "batch first":
        x = x.transpose(0, 1)
    if form == "packed":
        x = pack_padded_sequence(x, case.lengths, enforce_sorted=False)
    if form == "packed sorted":
        x = pack_sequence([x[:5, 0], x[:3, 1], x[:3, 2]])
    (output, state), (expected, expected_state) = ours(x, hx), theirs(x, hx)
    if form.startswith("packed"):
        assert torch.equal(output.batch_sizes, expected.batch_sizes)
        for field in ("sorted_indices", "unsorted_indices"):
            left, right = getattr(output, field), getattr(expected, field)
            assert (left is None and right is None) or torch.equal(left, right)
        output, expected = output.data, expected.data
    for left, right in zip((output, *state), (expected, *expected_state), strict=True):
        close(left, right)


@pytest.mark.parametrize("form", ["unbatched", "time first", "batch first"])
def test_trace__matches_output__every_form_of_input(form: str) -> None:
    case = hostile(CellSpec(3, 5, 2, bidirectional=True))
    layer = nn.LSTM(3, 5, 2, bidirectional=True, dtype=torch.float64, batch_first=form == "batch first")
    turn = {"unbatched": lambda v: v[:, 1], "time first": lambda v: v, "batch first": lambda v: v.transpose(0, 1)}[form]
    hx = (case.hx[0][:, 1], case.hx[1][:, 1]) if form == "unbatched" else case.hx
    resets = turn(case.resets)
    output, _, trace = layer(turn(case.clean), hx, resets=resets, return_cells=True, return_gates=True)
    assert len(trace.cells) == len(trace.gates) == 2
    assert list(trace.gates[0]) == ["i", "f", "g", "o"]
    close(trace.gates[1]["o"] * trace.cells[1].tanh(), output)
    without = layer(turn(case.clean), hx, resets=resets)
    close(without[0], output)
    cells_only = layer(turn(case.clean), hx, return_cells=True)[2]
    assert cells_only.gates is None
    assert cells_only.cells[0].shape == (*output.shape[:-1], 10)


def test_layer__roundtrips__pickle_deepcopy_and_torch_save() -> None:
    layer = nn.LSTM(3, 5, 2, learn_initial_state=True, forget_bias=1.0, bidirectional=True)
    torch.nn.init.normal_(layer.h_0)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    x = torch.randn(4, 2, 3)
    for twin in (copy.deepcopy(layer), torch.load(buffer, weights_only=False)):
        assert torch.equal(twin(x)[0], layer(x)[0])
        assert repr(twin) == repr(layer)


@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_dropout__never_acts__outside_training(engine: str) -> None:
    layer = nn.LSTM(3, 5, 3, dropout=0.5, engine=engine)
    x = torch.randn(6, 2, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_dropout__preserves_first_layer__reference() -> None:
    """The first layer does not see dropout; a dropout of 1 silences the second layer's input."""
    layer = nn.LSTM(3, 5, 2, dropout=1.0, engine="reference")
    x = torch.randn(6, 2, 3)
    _, _, trained = layer(x, return_cells=True)
    _, _, evaluated = layer.eval()(x, return_cells=True)
    assert torch.equal(trained.cells[0], evaluated.cells[0])
    silent = nn.LSTM(5, 5)
    silent.load_state_dict({name.replace("l1", "l0"): v for name, v in layer.state_dict().items() if "l1" in name})
    close(trained.cells[1], silent(torch.zeros(6, 2, 5), return_cells=True)[2].cells[0])


def test_initial_state__learns() -> None:
    layer = nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2, learn_initial_state=True)
    assert layer.h_0.shape == (4, 2)
    assert layer.c_0.shape == (4, 5)
    x = torch.randn(6, 3, 3)
    plain = nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2)
    plain.load_state_dict({name: value for name, value in layer.state_dict().items() if name not in ("h_0", "c_0")})
    assert torch.equal(layer(x)[0], plain(x)[0])
    torch.nn.init.normal_(layer.h_0)
    torch.nn.init.normal_(layer.c_0)
    state = tuple(value.detach()[:, None].repeat(1, 3, 1) for value in (layer.h_0, layer.c_0))
    close(layer(x)[0], plain(x, state)[0])
    close(layer(pack_padded_sequence(x, [6, 4, 2]))[1][0], plain(pack_padded_sequence(x, [6, 4, 2]), state)[1][0])
    layer(x)[0].sum().backward()
    assert (layer.h_0.grad != 0).all()
    assert (layer.c_0.grad != 0).all()


def test_weights__preserve_freedom__tying_norm_and_replacement() -> None:
    x = torch.randn(4, 2, 5)
    layer = nn.LSTM(5, 5)
    layer.weight_hh_l0 = layer.weight_ih_l0
    oracle = torch.nn.LSTM(5, 5)
    oracle.load_state_dict(layer.state_dict())
    close(layer(x)[0], oracle(x)[0])
    normed = parametrizations.weight_norm(nn.LSTM(5, 5), "weight_hh_l0")
    normed(x)[0].sum().backward()
    assert normed.parametrizations.weight_hh_l0.original0.grad is not None
    dropped = nn.LSTM(5, 5)
    weight = dropped.weight_hh_l0
    del dropped.weight_hh_l0
    dropped.weight_hh_l0 = weight * 0
    with torch.no_grad():
        oracle.load_state_dict(dropped.state_dict() | {"weight_hh_l0": weight * 0})
        close(dropped(x)[0], oracle(x)[0])


def test_layer__matches_one_by_one__per_sample_gradients() -> None:
    layer = nn.LSTM(3, 5, 2)
    x = torch.randn(4, 3, 3)
    parameters = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, parameters, (x,))[0].square().sum()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, x)
    for b in range(3):
        alone = torch.autograd.grad(layer(x[:, b])[0].square().sum(), [*layer.parameters()])
        for (name, _), gradient in zip(layer.named_parameters(), alone, strict=True):
            close(together[name][b], gradient)


def test_second_derivative__matches_reference__float32() -> None:
    layer, reference = nn.LSTM(3, 5, 2), nn.LSTM(3, 5, 2, engine="reference")
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(4, 2, 3)
    penalties = []
    for which in (layer, reference):
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(which(leaf)[0].sin().sum(), leaf, create_graph=True)
        penalties.append(torch.autograd.grad(slope.square().sum(), [*which.parameters()]))
    for left, right in zip(*penalties, strict=True):
        close(left, right)


def test_lengths__equals_list_and_tensor() -> None:
    layer = nn.LSTM(3, 5, batch_first=True)
    x = torch.randn(3, 6, 3)
    assert torch.equal(layer(x, lengths=[2, 6, 3])[0], layer(x, lengths=torch.tensor([2, 6, 3], dtype=torch.int32))[0])


def test_explanation__matches_what_runs() -> None:
    layer = nn.LSTM(3, 5)
    fast = "native" if native_available() else "torch"
    assert layer.explain_engine().engine == fast
    assert layer.explain_engine(lengths=True).engine == fast
    assert layer.explain_engine(resets=True).engine == ("native" if native_available() else "reference")
    assert nn.LSTM(3, 5, dtype=torch.bfloat16).explain_engine().engine == fast
    wide = nn.LSTM(3, 5, dtype=torch.float16)
    assert wide.explain_engine().engine == "torch"
    assert "ATen does not return the gates" in str(wide.explain_engine(return_gates=True))
    insisting = nn.LSTM(3, 5, engine="torch")
    with pytest.raises(EngineError, match="resets"):
        insisting.explain_engine(resets=True)
    with pytest.raises(EngineError, match="'torch' cannot run this: ATen does not return the gates"):
        insisting(torch.randn(4, 2, 3), return_gates=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be a whole number of at least 1, not 0"),
        ({"num_layers": 0}, "num_layers"),
        ({"bias": 1}, "bias must be True or False"),
        ({"batch_first": 1}, "batch_first must be True or False"),
        ({"dropout": 1.5}, r"dropout must be a probability in \[0, 1\], not 1.5"),
        ({"dropout": True}, "dropout must be a probability"),
        ({"dropout": "0.5"}, "dropout must be a probability"),
        ({"proj_size": 5}, "proj_size must be smaller than hidden_size"),
        ({"engine": "fast"}, "no engine is called 'fast'"),
        ({"init": "he"}, "init must be one of torch, orthogonal, chrono"),
        ({"init": "chrono"}, "needs t_max"),
        ({"init": "chrono", "t_max": 2}, "above 2"),
        ({"init": "chrono", "t_max": float("nan")}, "above 2"),
        ({"t_max": 9}, "t_max belongs to init='chrono'"),
        ({"init": "chrono", "t_max": 9, "forget_bias": 1.0}, "give either"),
        ({"forget_bias": 1.0, "bias": False}, "need bias=True"),
    ],
    ids=str,
)
def test_layer__rejects_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        nn.LSTM(**({"input_size": 3, "hidden_size": 5} | options))


def test_dropout__rejects_silently_nothing__one_layer() -> None:
    with pytest.warns(UserWarning, match="nothing with num_layers=1"):
        nn.LSTM(3, 5, dropout=0.5)


def test_packed__rejects_extras() -> None:
    layer = nn.LSTM(3, 5)
    packed = pack_sequence([torch.randn(4, 3), torch.randn(2, 3)])
    for extra in ({"lengths": [4, 2]}, {"resets": torch.zeros(4, 2, dtype=torch.bool)}, {"return_gates": True}):
        with pytest.raises(OptionError, match=f"combined with {next(iter(extra))}"):
            layer(packed, **extra)
    with pytest.raises(ShapeError, match=r"\(N, 3\), not \(6, 4\)"):
        layer(pack_sequence([torch.randn(4, 4), torch.randn(2, 4)]))
    with pytest.raises(ShapeError, match=r"h must have shape \(1, 2, 5\)"):
        layer(packed, (torch.zeros(1, 3, 5), torch.zeros(1, 3, 5)))


def test_unbatched__rejects_lengths() -> None:
    with pytest.raises(OptionError, match="no padding"):
        nn.LSTM(3, 5)(torch.randn(4, 3), lengths=[4])


def test_projection__never_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.LSTM(3, 5, proj_size=2)(torch.randn(4, 2, 3))


def test_layer__equals_shapes__on_meta() -> None:
    layer = nn.LSTM(3, 5, device="meta")
    assert layer(torch.empty(4, 2, 3, device="meta"), return_cells=True)[0].shape == (4, 2, 5)
