"""The boundary: one opaque op per layer and sequence, so that a compiled or exported graph holds one node.

Three ops: ``lstmkit::lstm_layer``, its gradient ``lstm_layer_backward``, and Python for the
gradient of the gradient. Parameters come in torch's order, direction after direction.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any, cast

import torch
from torch import Tensor

from lstmkit.ops.aten import AtenOptions, run_aten, run_aten_lengths
from lstmkit.ops.native import differentiate_native, real_dtype, run_native
from lstmkit.reference import (
    Saved,
    Upstream,
    Weights,
    check_lengths,
    mark_steps,
    run_direction_backward,
    run_layer,
)
from lstmkit.spec import EngineError


@torch.library.custom_op("lstmkit::lstm_layer", mutates_args=())
def lstm_layer(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    engine: str,
    trace: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run all directions of one layer: ``x (T, B, I)``, ``h (D, B, R)``, ``c (D, B, H)``.

    With ``trace`` the cell states ``(T, B, D*H)`` and gates ``(4, T, B, D*H)`` of every step come
    back too, otherwise two empty tensors. The gradient needs the trace from the engines ``reference``
    and ``native``; ``torch`` runs the layer again instead.
    """
    if lengths is not None:
        check_lengths(lengths, x.shape[0])
    if engine == "torch":
        return *_run_aten(x, h, c, list(weights), lengths), x.new_empty(0), x.new_empty(0)
    if engine == "native":
        return run_native(x, h, c, weights, lengths, resets, trace=trace)
    result = run_layer(
        torch,
        split_weights(weights, h.shape[0]),
        x,
        h,
        c,
        mark_steps(torch, x, lengths, resets),
        cells=trace,
        gates=trace,
    )
    cells = x.new_empty(0) if result.cells is None else result.cells
    gates = x.new_empty(0) if result.gates is None else result.gates
    return result.output, result.h, result.c, cells, gates


@lstm_layer.register_fake
def _(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    engine: str,
    trace: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    T, B, _ = x.shape
    D, _, R = h.shape
    H = c.shape[2]
    kept = trace and engine != "torch"
    return (
        x.new_empty(T, B, D * R),
        x.new_empty(D, B, R),
        x.new_empty(D, B, H),
        x.new_empty((T, B, D * H) if kept else 0, dtype=real_dtype(x.dtype) if engine == "native" else x.dtype),
        _fake_gates(x, D * H, engine) if kept else x.new_empty(0),
    )


def _fake_gates(x: Tensor, width: int, engine: str) -> Tensor:
    T, B, _ = x.shape
    if engine == "native":
        return x.new_empty(T, B, 4, width).permute(2, 0, 1, 3)
    return x.new_empty(4, T, B, width)


@torch.library.custom_op("lstmkit::lstm_layer_backward", mutates_args=())
def lstm_layer_backward(
    upstream: Sequence[Tensor],
    present: Sequence[int],
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    saved: Sequence[Tensor],
    engine: str,
) -> list[Tensor]:
    """Gradients with respect to x, h, c and each weight.

    ``upstream`` holds the gradients of those of ``lstm_layer``'s five outputs that ``present`` numbers;
    ``saved`` is the output, cells and gates of the forward run.
    """
    if engine == "torch":
        return _differentiate_aten(upstream, present, x, h, c, list(weights), lengths)
    if engine == "native":
        given = dict(zip(present, upstream, strict=True))
        every = [given.get(k) for k in range(5)]
        return cast(list[Tensor], differentiate_native(every, x, h, c, weights, lengths, resets, saved))
    D = h.shape[0]
    steps = mark_steps(torch, x, lengths, resets)
    kept = [value.chunk(D, -1) for value in saved]
    given = _per_direction(upstream, present, D)
    gradients = [
        run_direction_backward(
            torch,
            w,
            Saved(x, h[d], c[d], *(value[d] for value in kept)),
            given[d],
            steps,
            backwards=d == 1,
        )
        for d, w in enumerate(split_weights(weights, D))
    ]
    dx = reduce(add, (g.x for g in gradients))
    dweights = [grad for g in gradients for grad in _join_weights(g.weights)]
    return [dx, torch.stack([g.h for g in gradients]), torch.stack([g.c for g in gradients]), *dweights]


@lstm_layer_backward.register_fake
def _(
    upstream: Sequence[Tensor],
    present: Sequence[int],
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
    saved: Sequence[Tensor],
    engine: str,
) -> list[Tensor]:
    return [value.new_empty(value.shape) for value in (x, h, c, *weights)]


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, h, c, weights, lengths, resets, ctx.engine, trace = inputs
    y, _, _, cells, gates = output
    if ctx.engine != "torch" and not trace:
        raise EngineError(f"the gradient of lstm_layer needs trace=True from the engine {ctx.engine!r}")
    saved = [] if ctx.engine == "torch" else [y, cells, gates]
    ctx.num_weights, ctx.has = len(weights), (lengths is not None, resets is not None)
    ctx.save_for_backward(x, h, c, *weights, *saved, *(mask for mask in (lengths, resets) if mask is not None))
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
    x, h, c, *rest = ctx.saved_tensors
    resets = rest.pop() if ctx.has[1] else None
    lengths = rest.pop() if ctx.has[0] else None
    weights, saved = rest[: ctx.num_weights], rest[ctx.num_weights :]
    present = [k for k, grad in enumerate(upstream) if grad is not None and grad.numel() > 0]
    given = [upstream[k] for k in present]
    dx, dh, dc, *dweights = lstm_layer_backward(given, present, x, h, c, weights, lengths, resets, saved, ctx.engine)
    return dx, dh, dc, dweights, None, None, None, None


def _keep_for_double_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    upstream, ctx.present, x, h, c, weights, ctx.lengths, ctx.resets, saved, _ = inputs
    ctx.num_saved = len(saved)
    ctx.save_for_backward(*upstream, x, h, c, *weights)


def _double_backward(ctx: Any, tangents: Sequence[Tensor]) -> tuple[Any, ...]:
    """The gradient of the gradient, by autograd through the reference; what was saved is a function of the rest."""
    with torch.enable_grad():
        values = [value.detach().requires_grad_() for value in ctx.saved_tensors]
        n = len(ctx.present)
        upstream, (x, h, c, *weights) = values[:n], values[n:]
        steps = mark_steps(torch, x, ctx.lengths, ctx.resets)
        results = run_layer(torch, split_weights(weights, h.shape[0]), x, h, c, steps, cells=True, gates=True)
        outputs = [results[k] for k in ctx.present]
        first = torch.autograd.grad(outputs, [x, h, c, *weights], upstream, create_graph=True, materialize_grads=True)
        wanted = [(g, v) for g, v in zip(first, tangents, strict=True) if g.requires_grad]
        second = torch.autograd.grad(
            [g for g, _ in wanted], values, [v for _, v in wanted], allow_unused=True, materialize_grads=True
        )
    dx, dh, dc, *dweights = second[n:]
    return list(second[:n]), None, dx, dh, dc, dweights, None, None, [None] * ctx.num_saved, None


lstm_layer.register_autograd(_backward, setup_context=_keep_for_backward)
lstm_layer_backward.register_autograd(_double_backward, setup_context=_keep_for_double_backward)


def _per_direction(upstream: Sequence[Tensor], present: Sequence[int], num_directions: int) -> list[Upstream]:
    split = {
        k: grad.unbind(0) if k in (1, 2) else grad.chunk(num_directions, -1)
        for k, grad in zip(present, upstream, strict=True)
    }
    return [Upstream(*(split[k][d] if k in split else None for k in range(5))) for d in range(num_directions)]


def split_weights(weights: Sequence[Tensor], num_directions: int) -> list[Weights]:
    """Parameters of one layer in torch's order to one set per direction."""
    n = len(weights) // num_directions
    return [_name_weights(weights[d * n : (d + 1) * n]) for d in range(num_directions)]


def _name_weights(w: Sequence[Tensor]) -> Weights:
    return Weights(
        input=w[0],
        recurrent=w[1],
        bias=w[2] + w[3] if len(w) > 3 else None,
        projection=w[-1] if len(w) in (3, 5) else None,
    )


def _join_weights(w: Weights) -> list[Tensor]:
    """The inverse of naming: gradients in torch's order; both biases have the gradient of their sum."""
    biases = [] if w.bias is None else [w.bias, w.bias.clone()]
    return [w.input, w.recurrent, *biases, *([] if w.projection is None else [w.projection])]


def _run_aten(
    x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor], lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    n = len(weights) // h.shape[0]
    options = AtenOptions(1, bias=n > 3, bidirectional=h.shape[0] == 2, projection=n in (3, 5))
    if lengths is None:
        return run_aten(x, h, c, weights, options)
    return run_aten_lengths(x, h, c, weights, lengths, options)


def _differentiate_aten(
    upstream: Sequence[Tensor],
    present: Sequence[int],
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: list[Tensor],
    lengths: Tensor | None,
) -> list[Tensor]:
    with _autograd_inside_op():
        inputs = [value.detach().requires_grad_() for value in (x, h, c, *weights)]
        results = _run_aten(inputs[0], inputs[1], inputs[2], inputs[3:], lengths)
        gradients = torch.autograd.grad(
            [results[k] for k in present], inputs, upstream, allow_unused=True, materialize_grads=True
        )
    return [gradient.contiguous() for gradient in gradients]


@contextmanager
def _autograd_inside_op() -> Iterator[None]:
    """Inside a custom op torch has switched autograd off below ``enable_grad``; switch it on again."""
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in (torch._C.DispatchKey.AutogradFunctionality, torch._C.DispatchKey.AutogradOther):
        excluded = excluded.remove(key)
    with torch.enable_grad(), torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded):
        yield
