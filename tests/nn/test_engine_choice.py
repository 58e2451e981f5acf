"""What explain_engine says is what runs, for every kind of call."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from lstmkit import nn
from lstmkit.nn import lstm, run
from lstmkit.ops import native_available

FAST = "native" if native_available() else "torch"
EVERYTHING = "native" if native_available() else "reference"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that ran, by the functions that they are called through."""
    seen: list[str] = []

    def spy(module: Any, function: str, name: Any) -> None:
        original = getattr(module, function)

        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append(name(args) if callable(name) else name)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, function, call)

    spy(run, "run_native_layer", "native")
    spy(run, "lstm_layer", lambda args: args[6])
    spy(run, "_run_reference", "reference")
    spy(lstm, "run_torch", "torch")
    spy(lstm, "run_torch_packed", "torch")
    return seen


def draw(dtype: torch.dtype) -> tuple[Tensor, dict[str, Any]]:
    return torch.randn(5, 4, 3, dtype=dtype), {"lengths": [5, 2, 1, 4], "resets": torch.rand(5, 4) < 0.3}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"proj_size": 2}, {"checkpoint_steps": 2}], ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_explanation__equals_what_runs(
    dtype: torch.dtype, options: dict[str, Any], training: bool, ran: list[str]
) -> None:
    layer = nn.LSTM(3, 5, dtype=dtype, **options)
    x, masks = draw(dtype)
    with torch.set_grad_enabled(training):
        for lengths, resets, cells in product([False, True], repeat=3):
            if cells and training and "checkpoint_steps" in options:
                continue
            asked: dict[str, Any] = {"lengths": lengths, "resets": resets, "return_cells": cells}
            expected = layer.explain_engine(x, **asked)
            given = asked | {name: masks[name] if asked[name] else None for name in masks}
            ran.clear()
            layer(x, **given)
            assert ran == [expected.engine], str(expected)
            assert layer.explain_engine(**asked).engine == expected.engine
        ran.clear()
        layer(pack_padded_sequence(x, torch.tensor([5, 4, 2, 1])))
        assert ran == [layer.explain_engine(lengths=True).engine]


def test_choice__equals_table__by_dtype_and_need() -> None:
    """Written down once more, by hand."""
    for dtype in (torch.float32, torch.float64):
        assert nn.LSTM(3, 5, dtype=dtype).explain_engine().engine == FAST
    assert nn.LSTM(3, 5, dtype=torch.float16).explain_engine().engine == "torch"
    assert nn.LSTM(3, 5, dtype=torch.float16).explain_engine(resets=True).engine == "reference"
    assert nn.LSTM(3, 5, device="meta").explain_engine().engine == "torch"
    for dtype in (torch.float32, torch.float64):
        layer = nn.LSTM(3, 5, dtype=dtype, checkpoint_steps=9)
        assert layer.explain_engine().engine == EVERYTHING
        with torch.no_grad():
            assert layer.explain_engine().engine == FAST


def test_explanation__equals_what_runs__autocast_and_transforms(ran: list[str]) -> None:
    layer, (x, _) = nn.LSTM(3, 5), draw(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layer.explain_engine(x)
        layer(x)
    assert ran == [expected.engine]
    ran.clear()
    torch.func.vmap(layer, in_dims=1)(x)
    assert ran == ["reference"]
