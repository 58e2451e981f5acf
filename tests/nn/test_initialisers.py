from typing import Any

import pytest
import torch
from helpers.hostile import close
from helpers.served import BIDIRECTIONAL
from helpers.specs import NEEDED

from lstmkit import nn
from lstmkit.nn import initialisers
from lstmkit.spec import CellSpec, OptionError


@pytest.mark.parametrize("suffix", ["l0", "l0_reverse", "l1", "l1_reverse"])
def test_forget_bias__equals_what_was_asked(suffix: str) -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(3, 7, 2, bidirectional=True, forget_bias=1.5)
    torch.manual_seed(0)
    plain = nn.LSTM(3, 7, 2, bidirectional=True)
    ours, theirs = (
        sum(getattr(which, f"bias_{kind}_{suffix}").detach() for kind in ("ih", "hh")) for which in (layer, plain)
    )
    assert (ours[7:14] == 1.5).all()
    assert torch.equal(torch.cat([ours[:7], ours[14:]]), torch.cat([theirs[:7], theirs[14:]]))


@pytest.mark.parametrize("proj_size", [0, 3])
def test_orthogonal__preserves_norms__each_gate(proj_size: int) -> None:
    layer = nn.LSTM(3, 7, 2, init="orthogonal", proj_size=proj_size, dtype=torch.float64)
    for name in ("weight_hh_l0", "weight_hh_l1"):
        for block in getattr(layer, name).detach().chunk(4):
            close(block.T @ block, torch.eye(proj_size or 7, dtype=torch.float64))
    assert not torch.equal(*layer.weight_hh_l0.chunk(4)[:2])


def test_chrono__matches_paper__range_and_spread() -> None:
    layer = nn.LSTM(3, 4000, init="chrono", t_max=100)
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach()
    i, f, g, o = bias.chunk(4)
    assert torch.equal(i, -f)
    spans = f.exp()
    assert spans.min() >= 1.0 - 1e-5
    assert spans.max() <= 99.0 * (1 + 1e-5)
    assert abs(float(spans.mean()) - 50.0) < 3.0
    bound = 2 / 4000**0.5
    assert g.abs().max() <= bound
    assert o.abs().max() <= bound


def test_uniform__equals_torch_bound() -> None:
    values = initialisers.uniform_(torch.empty(100_000), 16)
    assert 0.249 < values.abs().max() <= 0.25


def test_chrono__rejects_short_memory() -> None:
    with pytest.raises(OptionError, match="above 2; not 1.5"):
        initialisers.chrono_(torch.zeros(8), torch.zeros(8), 1.5)


def test_reset_parameters__equals_construction__same_seed() -> None:
    torch.manual_seed(5)
    layer = nn.LSTM(3, 5, init="chrono", t_max=20, learn_initial_state=True)
    torch.nn.init.normal_(layer.h_0)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    torch.manual_seed(5)
    layer.reset_parameters()
    assert (layer.h_0 == 0).all()
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items() if name != "h_0")


def test_keras__matches_its_bounds__and_orthogonality() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(30, 50, 2, init="keras", dtype=torch.float64)
    for name, inputs in (("l0", 30), ("l1", 50)):
        weight = getattr(layer, f"weight_ih_{name}").detach()
        bound = (6 / (inputs + 200)) ** 0.5
        assert 0.95 * bound < float(weight.abs().max()) <= bound
        recurrent = getattr(layer, f"weight_hh_{name}").detach()
        close(recurrent.T @ recurrent, torch.eye(50, dtype=torch.float64))
        assert float((recurrent[:50].T @ recurrent[:50] - torch.eye(50)).abs().max()) > 0.1
        i, f, g, o = (getattr(layer, f"bias_ih_{name}") + getattr(layer, f"bias_hh_{name}")).detach().chunk(4)
        assert (f == 1).all()
        assert (torch.cat([i, g, o]) == 0).all()


@pytest.mark.parametrize("init", ["torch", "orthogonal", "keras"])
def test_variant__equals_ones_and_zeros__gains_and_shifts(init: str) -> None:
    layer = nn.LSTM(3, 4, 2, init=init, layer_norm="ba", skip="highway", forget_gate="coupled", peepholes="io")
    for name, value in layer.state_dict().items():
        if name.startswith("gain_"):
            assert (value == 1).all()
        elif name.startswith("bias_c"):
            assert (value == 0).all()
        elif name.startswith("bias_skip"):
            assert (value == -1).all()
        elif name.startswith(("weight_ch", "weight_skip")):
            assert 0 < float(value.abs().max()) <= 0.5


@pytest.mark.parametrize(
    ("options", "sign", "row"), [({"forget_gate": "coupled"}, -1, 0), ({"input_gate": "coupled"}, 1, 0)]
)
def test_chrono__preserves_spread__coupled_gates(options: dict[str, str], sign: int, row: int) -> None:
    """One gate has a bias; the other is one minus it, and so has that of the opposite sign."""
    layer = nn.LSTM(3, 400, init="chrono", t_max=100, **options)  # pyright: ignore
    bias = sign * (layer.bias_ih_l0 + layer.bias_hh_l0).detach().chunk(3)[row]  # pyright: ignore
    assert 0 < float(bias.min()) < float(bias.max()) <= torch.tensor(99.0).log()


def test_layer_sizes__equal_torch_bounds__each_layer() -> None:
    layer = nn.LSTM(3, [4, 400])
    first, second = layer.state_dict()["weight_ih_l0"], layer.state_dict()["weight_ih_l1"]
    assert 0.4 < float(first.abs().max()) <= 0.5
    assert 0.04 < float(second.abs().max()) <= 0.05


# cell -> its recurrent matrices, each with the rows of one block of 6 units; an ON-LSTM's masters are half as many.
RECURRENT = {
    **{cell: {"weight_hh": 6} for cell in ("rnn", "gru", "janet", "mogrifier", "phased", "time_aware")},
    **{cell: {"weight_hh": 6} for cell in ("entity_aware", "lstm1997", "conv_lstm")},
    "slstm": {"weight_hh": 3},
    "multiplicative": {"weight_mh": 6, "weight_hm": 6},
    "on_lstm": {"weight_hh": 6, "weight_master_hh": 3},
}
# cell -> the bias of its forget gate, the rows of it, those of the input gate.
FORGET = {
    **dict.fromkeys(("slstm", "minlstm", "multiplicative", "mogrifier"), ("bias_ih", slice(6, 12), slice(0, 6))),
    **dict.fromkeys(("on_lstm", "phased", "time_aware", "conv_lstm"), ("bias_ih", slice(6, 12), slice(0, 6))),
    "mlstm": ("bias_if", slice(2, 4), slice(0, 2)),
    "janet": ("bias_ih", slice(0, 6), None),
    "entity_aware": ("bias_ih", slice(0, 6), None),
}
OWN = {"slstm": {"num_heads": 2}, "mlstm": {"num_heads": 2}, "on_lstm": {"chunk_size": 2}}
CELLS = [cell for cell in BIDIRECTIONAL if cell != "lstm"]
SUFFIXES = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")


def make(cell: str, init: str, units: int = 6, **options: Any) -> Any:
    """Two layers and directions of five features, from one seed."""
    spec = CellSpec(5, units, 2, True, True, cell=cell, **NEEDED.get(cell, {}), **OWN.get(cell, {}))  # pyright: ignore
    torch.manual_seed(3)
    return nn.build(spec, init=init, dtype=torch.float64, **options)


def parameters(module: torch.nn.Module, name: str) -> list[torch.Tensor]:
    return [module.get_parameter(name + suffix).detach() for suffix in SUFFIXES]


def same(ours: torch.nn.Module, theirs: torch.nn.Module, but: set[str]) -> None:
    """What an initialiser is not for is as it was, but for rhythms, which are drawn after it."""
    for name, value in theirs.named_parameters():
        if name.startswith(("log_period", "shift")):
            continue
        unchanged = torch.equal(ours.get_parameter(name), value)
        assert unchanged != (name.partition("_l")[0] in but), name


@pytest.mark.parametrize("cell", RECURRENT)
def test_relatives_orthogonal__preserve_norms__each_gate_and_head(cell: str) -> None:
    layer = make(cell, "orthogonal")
    for name, rows in RECURRENT[cell].items():
        for matrix in parameters(layer, name):
            for block in matrix.split(rows):
                flat = block.flatten(1)
                close(flat @ flat.T, torch.eye(rows, dtype=torch.float64))
    same(layer, make(cell, "torch"), {*RECURRENT[cell]})


@pytest.mark.parametrize("cell", CELLS)
def test_relatives_keras__match_its_bounds_and_biases(cell: str) -> None:
    layer, plain = make(cell, "keras"), make(cell, "torch")
    kinds = {name.partition("_l")[0] for name, _ in layer.named_parameters() if name.endswith("_l0")}
    for kind in kinds & {"weight_ih", "weight_im", "weight_sh", "weight_master_ih", "weight_qkvo", "weight_if"}:
        for matrix in parameters(layer, kind):
            places = matrix[0, 0].numel()
            bound = (6 / (places * (matrix.shape[0] + matrix.shape[1]))) ** 0.5
            assert 0.5 * bound < float(matrix.abs().max()) <= bound
    for kind in RECURRENT.get(cell, {}):
        for matrix in parameters(layer, kind):
            heads = 2 if cell == "slstm" else 1
            for head in range(heads):
                flat = matrix.unflatten(0, (-1, heads, matrix.shape[0] // heads // (4 if heads > 1 else 1)))
                flat = flat[:, head].flatten(0, 1).flatten(1)
                product = flat.T @ flat if len(flat) >= flat.shape[1] else flat @ flat.T
                close(product, torch.eye(len(product), dtype=torch.float64))
    biases = {kind for kind in kinds if kind.startswith("bias_")}
    for kind in biases:
        for bias in parameters(layer, kind):
            name, rows, _ = FORGET.get(cell, ("", slice(0), None))
            expected = torch.zeros_like(bias)
            if kind == name:
                expected[rows] = 1
            assert torch.equal(bias, expected)
    read = {kind for kind in kinds if kind.endswith(("_ih", "_im", "_sh", "_qkvo", "_if"))}
    same(layer, plain, read | biases | {*RECURRENT.get(cell, {})})


@pytest.mark.parametrize("cell", FORGET)
def test_relatives_chrono__match_paper__forget_and_input_gates(cell: str) -> None:
    layer, plain = make(cell, "chrono", t_max=100), make(cell, "torch")
    name, rows, inputs = FORGET[cell]
    spans = torch.cat([bias[rows].exp() for bias in parameters(layer, name)])
    assert float(spans.min()) >= 1 - 1e-9
    assert float(spans.max()) <= 99 + 1e-9
    assert float(spans.max() - spans.min()) > 30
    for bias, other in zip(parameters(layer, name), parameters(plain, name), strict=True):
        expected = other.clone()
        expected[rows] = bias[rows]
        if inputs is not None:
            expected[inputs] = -bias[rows]
        assert torch.equal(bias, expected)
    same(layer, plain, {name})


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("init", "table"), [("orthogonal", RECURRENT), ("chrono", FORGET)])
def test_relatives__reject_what_a_cell_has_not(cell: str, init: str, table: dict[str, object]) -> None:
    options = {"t_max": 10} if init == "chrono" else {}
    if cell in table:
        assert f"init={init!r}" in repr(make(cell, init, **options))
        return
    why = {"orthogonal": "is for recurrent matrices, of which the cell", "chrono": "spreads how fast cells forget, but"}
    with pytest.raises(OptionError, match=f"init='{init}' {why[init]} .*'{cell}' has no"):
        make(cell, init, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"init": "zeros"}, "init must be one of torch, orthogonal, chrono, keras, not 'zeros'"),
        ({"init": "chrono"}, "needs t_max, the longest dependence in steps, above 2; not None"),
        ({"init": "chrono", "t_max": 9, "bias": False}, "init='chrono' and forget_bias need bias=True"),
        ({"t_max": 9}, "t_max belongs to init='chrono', not to init='torch'"),
    ],
)
def test_relatives__reject_initialisation(options: dict[str, object], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        nn.JANET(3, 4, **options)  # pyright: ignore


@pytest.mark.parametrize("cell", CELLS)
def test_relatives_reset__equals_construction__same_seed(cell: str) -> None:
    layer, again = make(cell, "keras", learn_initial_state=True), make(cell, "keras", learn_initial_state=True)
    for parameter in again.parameters():
        torch.nn.init.normal_(parameter)
    torch.manual_seed(3)
    again.reset_parameters()  # pyright: ignore
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in layer.state_dict().items())
