"""What nobody should pass, and what people pass all the same: a named error or a defined result, never a crash."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import close
from torch import Tensor

from lstmkit import nn
from lstmkit.ops import native_available
from lstmkit.spec import LSTMKitError, OptionError, ShapeError

NEEDS_CORE = pytest.mark.skipif(not native_available(), reason="the native core was not built")
EVERY_ENGINE = pytest.mark.parametrize(
    "engine", [None, "torch", "reference", pytest.param("native", marks=NEEDS_CORE)], ids=str
)
T, B, I, H = 6, 4, 3, 5


def make(engine: str | None, **options: Any) -> nn.LSTM:
    torch.manual_seed(4)
    layer = nn.LSTM(I, H, bidirectional=True, engine=engine, **options)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


META = torch.device("meta")
WRONG = {
    "input-list": ({"input": [[1.0]]}, "input must be a torch.Tensor, not list"),
    "input-numpy": ({"input": np.zeros((T, B, I))}, "input must be a torch.Tensor, not ndarray"),
    "input-none": ({"input": None}, "not NoneType"),
    "input-4d": ({"input": torch.zeros(T, B, I, 1)}, "2 dimensions .unbatched. or 3, not 4"),
    "input-0d": ({"input": torch.zeros(())}, "not 0"),
    "input-features": ({"input": torch.zeros(T, B, I + 1)}, r"shape \(T, B, 3\), not \(6, 4, 4\)"),
    "input-int": ({"input": torch.zeros(T, B, I, dtype=torch.int32)}, "int32"),
    "input-half": ({"input": torch.zeros(T, B, I, dtype=torch.float16)}, "float16"),
    "input-complex": ({"input": torch.zeros(T, B, I, dtype=torch.complex64)}, "complex64"),
    "input-meta": ({"input": torch.zeros(T, B, I, device=META)}, "on meta"),
    "input-sparse": ({"input": torch.zeros(T, B, I).to_sparse()}, "dense tensor, not torch.sparse_coo"),
    "input-mkldnn": ({"input": torch.zeros(T, B, I).to_mkldnn()}, "dense tensor, not torch._mkldnn"),
    "no-steps": ({"input": torch.zeros(0, B, I)}, "at least 1"),
    "hx-tensor": ({"hx": torch.zeros(2, 2, B, H)}, "pair"),
    "hx-three": ({"hx": (torch.zeros(2, B, H),) * 3}, "pair .h, c. of tensors, not tuple of 3"),
    "hx-none": ({"hx": (None, None)}, "h must be a torch.Tensor, not NoneType"),
    "hx-numpy": ({"hx": (np.zeros((2, B, H)),) * 2}, "h must be a torch.Tensor, not ndarray"),
    "hx-rows": ({"hx": (torch.zeros(2, B + 1, H), torch.zeros(2, B, H))}, r"h must have shape \(2, 4, 5\)"),
    "hx-c": ({"hx": (torch.zeros(2, B, H), torch.zeros(1, B, H))}, r"c must have shape \(2, 4, 5\), not \(1, 4, 5\)"),
    "hx-dtype": ({"hx": (torch.zeros(2, B, H), torch.zeros(2, B, H).double())}, "c has dtype torch.float64"),
    "hx-meta": ({"hx": (torch.zeros(2, B, H, device=META),) * 2}, "h is on meta"),
    "lengths-zero": ({"lengths": [6, 1, 0, 2]}, "reach from 0 to 6"),
    "lengths-negative": ({"lengths": [6, 1, -3, 2]}, "reach from -3 to 6"),
    "lengths-above": ({"lengths": [7, 1, 1, 2]}, "reach from 1 to 7"),
    "lengths-few": ({"lengths": [6, 1, 1]}, r"shape \(4,\), not \(3,\)"),
    "lengths-number": ({"lengths": 6}, r"shape \(4,\), not \(\)"),
    "lengths-2d": ({"lengths": [[6, 1, 1, 2]]}, r"not \(1, 4\)"),
    "lengths-float": ({"lengths": [6.0, 1.0, 1.0, 2.0]}, "whole numbers, not torch.float32"),
    "lengths-bool": ({"lengths": [True] * B}, "whole numbers, not torch.bool"),
    "lengths-text": ({"lengths": ["6"] * B}, "whole numbers, one per row"),
    "lengths-huge": ({"lengths": [10**30] * B}, "whole numbers, one per row"),
    "lengths-wrap": ({"lengths": torch.tensor([6, 1, 1, 2**64 - 5], dtype=torch.uint64)}, "reach from -5"),
    "lengths-none": ({"lengths": [6, None, 1, 1]}, "whole numbers, one per row"),
    "lengths-meta": ({"lengths": torch.ones(B, dtype=torch.int64, device=META)}, "has no content"),
    "resets-list": ({"resets": [[False] * B] * T}, "resets must be a torch.Tensor"),
    "resets-shape": ({"resets": torch.zeros(B, T, dtype=torch.bool)}, r"shape \(6, 4\), not \(4, 6\)"),
    "resets-1d": ({"resets": torch.zeros(T, dtype=torch.bool)}, "2 dimensions"),
    "resets-dtype": ({"resets": torch.zeros(T, B, dtype=torch.uint8)}, "type bool"),
    "resets-meta": ({"resets": torch.zeros(T, B, dtype=torch.bool, device=META)}, "has no content"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("training", [False, True])
def test_layer__rejects_wrong_argument__by_name(name: str, training: bool) -> None:
    change, message = WRONG[name]
    with torch.set_grad_enabled(training), pytest.raises(ShapeError, match=message):
        make(None)(**({"input": torch.zeros(T, B, I)} | change))


@NEEDS_CORE
@pytest.mark.parametrize("name", WRONG)
def test_native__rejects_wrong_argument__whoever_asked_for_it(name: str) -> None:
    with pytest.raises(LSTMKitError):
        make("native")(**({"input": torch.zeros(T, B, I)} | WRONG[name][0]))


@pytest.mark.parametrize("steps", [0, T])
def test_unbatched__rejects_lengths_and_emptiness(steps: int) -> None:
    with pytest.raises((OptionError, ShapeError), match="no padding" if steps else "at least 1"):
        make(None)(torch.zeros(steps, I), lengths=[steps] if steps else None)


@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers", "proj_size"])
def test_layer__rejects_negative_sizes(name: str) -> None:
    with pytest.raises(OptionError, match=name):
        nn.LSTM(**({"input_size": 3, "hidden_size": 5} | {name: -1}))


@NEEDS_CORE
@pytest.mark.parametrize("engine", [None, "native"])
@pytest.mark.parametrize(
    "name", ["weight_ih_l0", "weight_hh_l0", "weight_hh_l0_reverse", "bias_ih_l0", "bias_hh_l0_reverse"]
)
@pytest.mark.parametrize("kind", ["smaller", "larger", "half", "double", "meta", "1d"])
def test_layer__rejects_assigned_weights__that_do_not_fit(engine: str | None, name: str, kind: str) -> None:
    """The core sees addresses alone: without a check it would read past the end."""
    layer = make(engine)
    weight = getattr(layer, name).detach()
    wrong = {
        "smaller": lambda: weight[:-1].clone(),
        "larger": lambda: torch.cat([weight, weight]),
        "half": weight.half,
        "double": weight.double,
        "meta": lambda: weight.to("meta"),
        "1d": lambda: weight[:1].flatten().clone(),
    }[kind]()
    setattr(layer, name, torch.nn.Parameter(wrong))
    with pytest.raises(ShapeError, match=r"must be (torch.float32|a matrix \(4H, R\))|the weights (have|are on)"):
        layer(draw(T, B, I))


def twin(values: Tensor) -> Tensor:
    """A stored copy that shares nothing."""
    return values.clone(memory_format=torch.contiguous_format)


def unaligned(values: Tensor) -> Tensor:
    memory = bytearray(b"\0" + values.contiguous().numpy().tobytes())
    return torch.frombuffer(memory, dtype=torch.float32, offset=1).view(values.shape)


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "transposed": lambda: draw(I, T, B).permute(1, 2, 0),
    "batch first": lambda: draw(B, T, I).transpose(0, 1),
    "every second feature": lambda: draw(T, B, 2 * I)[:, :, 1::2],
    "offset": lambda: draw(T + 1, B + 1, I + 1)[1:, 1:, 1:],
    "expanded rows": lambda: draw(T, 1, I).expand(T, B, I),
    "expanded steps": lambda: draw(1, B, I).expand(T, B, I),
    "expanded features": lambda: draw(T, B, 1).expand(T, B, I),
    "one number": lambda: draw(1).expand(T, B, I),
    "overlapping windows": lambda: draw(B + 3 * T + I).as_strided((T, B, I), (3, 1, 1)),
    "negated view": lambda: torch._neg_view(draw(T, B, I)),
    "imaginary part": lambda: torch.view_as_complex(draw(T, B, I, 2)).conj().imag,
    "unaligned": lambda: unaligned(draw(T, B, I)),
    "padding of a channels-last image": lambda: (
        draw(1, I, T, B).contiguous(memory_format=torch.channels_last)[0].permute(1, 2, 0)
    ),
}


@EVERY_ENGINE
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layer__equals_contiguous__any_layout_of_input(engine: str | None, layout: str) -> None:
    layer, x = make(engine), LAYOUTS[layout]()
    extras: Any = {} if engine == "torch" else {"resets": (draw(1, B) > 0).expand(T, B)}
    results = []
    for value in (x, twin(x)):
        output, state = layer(value, lengths=[2, 6, 1, 5], **extras)
        results.append([output, *state, *torch.autograd.grad(output.sin().sum(), [*layer.parameters()])])
    for left, right in zip(*results, strict=True):
        close(left, right)


STATES: dict[str, Callable[[], Tensor]] = {
    "expanded rows": lambda: draw(2, 1, H).expand(2, B, H),
    "expanded directions": lambda: draw(1, B, H).expand(2, B, H),
    "expanded units": lambda: draw(2, B, 1).expand(2, B, H),
    "rows first": lambda: draw(B, 2, H).transpose(0, 1),
    "units first": lambda: draw(H, B, 2).permute(2, 1, 0),
    "negated view": lambda: torch._neg_view(draw(2, B, H)),
    "overlapping": lambda: draw(2 * B + H).as_strided((2, B, H), (3, 1, 1)),
    "unaligned": lambda: unaligned(draw(2, B, H)),
}


@EVERY_ENGINE
@pytest.mark.parametrize("layout", STATES)
def test_layer__equals_contiguous__any_layout_of_state(engine: str | None, layout: str) -> None:
    layer, x, state = make(engine), draw(T, B, I), STATES[layout]()
    found, expected = (layer(x, (value, value)) for value in (state, twin(state)))
    for left, right in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
        close(left, right)


@EVERY_ENGINE
def test_layer__equals_contiguous__gradients_of_expanded_leaves(engine: str | None) -> None:
    """A stride of 0 sums its gradients; upstream gradients come expanded as well."""
    layer = make(engine)
    row, h, c = draw(T, 1, I).requires_grad_(), draw(2, 1, H).requires_grad_(), draw(2, 1, H).requires_grad_()
    output, state = layer(row.expand(T, B, I), (h.expand(2, B, H), c.expand(2, B, H)))
    found = torch.autograd.grad(output.sum() + sum(value.sum() for value in state), [row, h, c])
    output, state = layer(row, (h, c))
    expected = torch.autograd.grad(B * (output.sum() + sum(value.sum() for value in state)), [row, h, c])
    for left, right in zip(found, expected, strict=True):
        close(left, right)


@EVERY_ENGINE
def test_layer__equals_contiguous__weights_of_any_layout(engine: str | None) -> None:
    layer, other = make(engine), make(engine)
    x = draw(T, B, I)
    for name, value in list(other.named_parameters()):
        delattr(other, name)
        value = value.detach()
        strided = torch.stack([value, value], -1)[..., 0]
        setattr(other, name, torch._neg_view(-value) if "ih" in name else strided)
    close(layer(x)[0], other(x)[0])


@EVERY_ENGINE
@pytest.mark.parametrize("mode", ["no lengths", "lengths"])
def test_empty_batch__matches_torch(engine: str | None, mode: str) -> None:
    layer = make(engine)
    x = torch.zeros(T, 0, I, requires_grad=True)
    output, (h, c) = layer(x, lengths=[] if mode == "lengths" else None)
    assert (output.shape, h.shape, c.shape) == ((T, 0, 2 * H), (2, 0, H), (2, 0, H))
    (output.sum() + h.sum()).backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert all(p.grad is not None and (p.grad == 0).all() for p in layer.parameters())


@EVERY_ENGINE
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")], ids=str)
@pytest.mark.parametrize("where", ["x", "h", "c"])
def test_poison__never_leaves_its_row(engine: str | None, poison: float, where: str) -> None:
    layer = make(engine)
    clean = {"x": draw(T, B, I), "h": draw(2, B, H), "c": draw(2, B, H)}
    dirty = {name: value.clone() for name, value in clean.items()}
    dirty[where][:, 2] = poison
    others = [0, 1, 3]

    def run(values: dict[str, Tensor]) -> list[Tensor]:
        x, h, c = (value.clone().requires_grad_() for value in values.values())
        output, state = layer(x, (h, c), lengths=[6, 3, 5, 2])
        outputs = [output, *state]
        return outputs + list(torch.autograd.grad(sum(y.sin().sum() for y in outputs), [x, h, c]))  # pyright: ignore

    found, expected = run(dirty), run(clean)
    for left, right in zip(found, expected, strict=True):
        close(left[:, others], right[:, others])
    if poison != poison:
        assert found[0][:5, 2].isnan().any()
        assert found[0][5:, 2].eq(0).all()


def test_lengths__equal_each_other__any_whole_number_type_and_order() -> None:
    layer, x = make(None), draw(T, B, I)
    expected = layer(x, lengths=[2, 6, 1, 5])[0]
    for dtype in (
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    ):
        assert torch.equal(layer(x, lengths=torch.tensor([2, 6, 1, 5], dtype=dtype))[0], expected)
    assert torch.equal(layer(x, lengths=np.array([2, 6, 1, 5]))[0], expected)
    assert torch.equal(layer(x, lengths=torch.tensor([2, 0, 6, 0, 1, 0, 5])[::2])[0], expected)
    order = [2, 0, 3, 1]
    assert torch.equal(layer(x[:, order], lengths=torch.tensor([2, 6, 1, 5])[order])[0], expected[:, order])
