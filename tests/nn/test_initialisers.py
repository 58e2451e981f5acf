import pytest
import torch
from helpers.hostile import close

from lstmkit import nn
from lstmkit.nn import initialisers
from lstmkit.spec import OptionError


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
