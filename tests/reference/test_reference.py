import warnings
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import close, hostile

from lstmkit.reference import (
    Saved,
    Upstream,
    layer_weights,
    mark_steps,
    run_direction_backward,
    run_sequence,
    run_step,
)
from lstmkit.spec import CellSpec, OptionError, ShapeError

SPEC = CellSpec(3, 5, 2, bidirectional=True, proj_size=2)


def numpy_case(spec: CellSpec, dtype: torch.dtype) -> tuple[dict[str, Any], Any, Any, Any, Any]:
    case = hostile(spec, dtype=dtype)
    parameters = {name: value.numpy() for name, value in case.parameters.items()}
    state = case.hx[0].numpy(), case.hx[1].numpy()
    return parameters, case.x.numpy(), state, case.lengths.numpy(), case.resets.numpy()


def test_numpy__preserves_float32__lengths_resets_and_trace() -> None:
    parameters, x, state, lengths, resets = numpy_case(SPEC, torch.float32)
    result = run_sequence(
        np, SPEC, parameters, x, state, lengths=lengths, resets=resets, return_cells=True, return_gates=True
    )
    assert result.cells is not None
    assert result.gates is not None
    arrays = [
        result.output,
        *result.state,
        *result.cells,
        *(value for gates in result.gates for value in gates.values()),
    ]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert run_sequence(np, SPEC, parameters, np.nan_to_num(x)).state[0].dtype == np.float32
    one_way = CellSpec(3, 5)
    parameters = {
        name: parameters[name] if "hh" not in name or "bias" in name else np.ones((20, 5), "f")
        for name in one_way.parameter_shapes()
    }
    output, carried = run_step(np, one_way, parameters, np.ones((2, 3), "f"))
    assert {output.dtype, *(value.dtype for value in carried)} == {np.dtype(np.float32)}


def test_numpy__equals_torch__all_extras() -> None:
    parameters, x, state, lengths, resets = numpy_case(SPEC, torch.float64)
    case = hostile(SPEC)
    options = {"return_cells": True, "return_gates": True}
    ours = run_sequence(np, SPEC, parameters, x, state, lengths=lengths, resets=resets, **options)
    theirs = run_sequence(
        torch, SPEC, case.parameters, case.x, case.hx, lengths=case.lengths, resets=case.resets, **options
    )
    for left, right in zip((ours.output, *ours.state), (theirs.output, *theirs.state), strict=True):
        close(torch.from_numpy(left), right)
    for left, right in zip(ours.gates or (), theirs.gates or (), strict=True):
        for letter in "ifgo":
            close(torch.from_numpy(left[letter]), right[letter])


def test_trace__matches_the_equations() -> None:
    spec = CellSpec(3, 5)
    case = hostile(spec)
    result = run_sequence(torch, spec, case.parameters, case.clean, case.hx, return_cells=True, return_gates=True)
    assert result.cells is not None
    assert result.gates is not None
    (cells,), (gates,) = result.cells, result.gates
    before = torch.cat([case.hx[1], cells[:-1]])
    close(gates["f"] * before + gates["i"] * gates["g"], cells)
    close(gates["o"] * cells.tanh(), result.output)
    for letter in "ifo":
        assert ((gates[letter] > 0) & (gates[letter] < 1)).all()
    assert (gates["g"] < 0).any()


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_numpy__never_warns__huge_numbers(size: float) -> None:
    spec = CellSpec(2, 3)
    parameters = {name: np.full(shape, -1.0, "f") for name, shape in spec.parameter_shapes().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run_sequence(np, spec, parameters, np.array([[[size, size]], [[-size, 0]]], "f"))
    assert np.isfinite(result.output).all()


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("backwards", [False, True])
def test_written_backward__matches_autograd__under_numpy(backwards: bool, proj_size: int) -> None:
    spec = CellSpec(3, 5, bidirectional=True, proj_size=proj_size)
    case = hostile(spec, steps=7, batch=4)
    suffix, d = ("_l0_reverse", 1) if backwards else ("_l0", 0)
    names = [name for name in case.parameters if name.endswith(suffix)]
    parameters = {name: value.requires_grad_(name in names) for name, value in case.parameters.items()}
    x, (h, c) = case.clean.requires_grad_(), (value.detach().requires_grad_() for value in case.hx)
    options = {"lengths": case.lengths, "resets": case.resets, "return_cells": True, "return_gates": True}
    run = run_sequence(torch, spec, parameters, x, (h, c), **options)
    R, H = spec.state_size, spec.hidden_size
    assert run.cells is not None
    assert run.gates is not None
    outputs = [
        run.output[..., d * R : (d + 1) * R],
        *(value[d] for value in run.state),
        run.cells[0][..., d * H : (d + 1) * H],
        torch.stack([run.gates[0][letter] for letter in "ifgo"])[..., d * H : (d + 1) * H],
    ]
    upstream = [torch.randn_like(value) for value in outputs]
    expected = torch.autograd.grad(outputs, [x, h, c, *(parameters[name] for name in names)], upstream)

    arrays = {name: value.detach().numpy() for name, value in parameters.items()}
    saved = [value.detach().numpy() for value in (x, h[d], c[d], outputs[0], outputs[3], outputs[4])]
    steps = mark_steps(np, saved[0], case.lengths.numpy(), case.resets.numpy())
    ours = run_direction_backward(
        np,
        layer_weights(spec, arrays, suffix),
        Saved(*saved),
        Upstream(*(g.numpy() for g in upstream)),
        steps,
        backwards=backwards,
    )
    weights = [
        ours.weights.input,
        ours.weights.recurrent,
        ours.weights.bias,
        ours.weights.bias,
        ours.weights.projection,
    ]
    actual = [ours.x, ours.h, ours.c, *(w for w in weights if w is not None)]
    for left, right in zip(actual, [expected[0], expected[1][d], expected[2][d], *expected[3:]], strict=True):
        close(torch.from_numpy(left), right)


def test_sequence__rejects_missing_parameter() -> None:
    parameters, x, *_ = numpy_case(SPEC, torch.float64)
    del parameters["weight_hr_l1_reverse"]
    with pytest.raises(ShapeError, match=r"'weight_hr_l1_reverse' of shape \(2, 5\) is missing"):
        run_sequence(np, SPEC, parameters, x)
    with pytest.raises(ShapeError, match=r"weight_ih_l0 must have shape \(20, 3\), not \(20, 4\)"):
        run_sequence(np, SPEC, {**parameters, "weight_ih_l0": np.zeros((20, 4))}, x)


def test_sequence__rejects_bad_lengths() -> None:
    parameters, x, *_ = numpy_case(SPEC, torch.float64)
    with pytest.raises(ShapeError, match=r"in 1\.\.5.*leave empty sequences out"):
        run_sequence(np, SPEC, parameters, x, lengths=np.array([0, 5, 5]))
    with pytest.raises(ShapeError, match="the pair"):
        run_sequence(np, SPEC, parameters, x, [np.zeros((4, 3, 2))])


def test_step__rejects_bidirectional_and_sequences() -> None:
    with pytest.raises(OptionError, match="whole sequence"):
        run_step(np, SPEC, {}, np.zeros((1, 3)))
    with pytest.raises(ShapeError, match=r"\(B, 3\)"):
        run_step(np, CellSpec(3, 5), {}, np.zeros((1, 1, 3)))


def test_sequence__equals_nothing__empty_batch() -> None:
    parameters, *_ = numpy_case(SPEC, torch.float64)
    result = run_sequence(np, SPEC, parameters, np.zeros((4, 0, 3)), lengths=np.zeros(0, np.int64))
    assert result.output.shape == (4, 0, 4)
    assert result.state[1].shape == (4, 0, 5)
