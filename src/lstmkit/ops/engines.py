"""One layer by one engine, forward and backward, on plain tensors: what the ops do inside."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.ops.aten import AtenOptions, run_aten, run_aten_lengths
from lstmkit.ops.native import Outputs, Wants, count_directions, differentiate_native, run_native
from lstmkit.reference import (
    CELLS,
    LayerResult,
    Saved,
    Upstream,
    Weights,
    mark_steps,
    run_direction_backward,
    run_layer,
)


class Layer(NamedTuple):
    """What one layer is given; weights in torch's order, direction after direction."""

    x: Tensor  # (T, B, I)
    h: Tensor  # (D, B, R)
    c: Tensor  # (D, B, H)
    weights: Sequence[Tensor]
    lengths: Tensor | None  # (B,) in 0..T
    resets: Tensor | None  # (T, B)


def zero_state(x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The state h and c of one layer that was given none."""
    D, B = count_directions(weights), x.shape[1]
    return x.new_zeros(D, B, weights[1].shape[1]), x.new_zeros(D, B, weights[0].shape[0] // 4)


def run_engine(
    engine: str, layer: Layer, *, trace: bool, reverse: bool = False, gates_dtype: torch.dtype | None = None
) -> Outputs:
    """Output, last states, and with ``trace`` the cells and gates of every step, which ``torch`` does not have.

    Args:
        engine: One that can do the case.
        layer: The case.
        trace: Whether cells and gates are wanted; without it they are empty.
        reverse: Whether the one direction there is reads from the end; not for ``torch``.
        gates_dtype: What ``native`` keeps the gates in, see ``kept_gates_dtype``.
    """
    if engine == "native":
        return run_native(*layer, trace=trace, reverse=reverse, gates_dtype=gates_dtype)
    if engine == "torch":
        return *_run_aten(layer), layer.x.new_empty(0), layer.x.new_empty(0)
    result = run_equations(layer, cells=trace, gates=trace, reverse=reverse)
    h, c = result.state
    return (
        result.output,
        h,
        c,
        layer.x.new_empty(0) if result.cells is None else result.cells,
        layer.x.new_empty(0) if result.gates is None else result.gates,
    )


def run_equations(layer: Layer, *, cells: bool, gates: bool, reverse: bool = False) -> LayerResult:
    """A layer by the reference, through which autograd sees."""
    x, h, c, weights, lengths, resets = layer
    steps = mark_steps(torch, x, lengths, resets)
    split = split_weights(weights, h.shape[0])
    return run_layer(torch, CELLS["lstm"], split, x, (h, c), steps, cells=cells, gates=gates, reverse=reverse)


def differentiate_engine(
    engine: str,
    upstream: Sequence[Tensor | None],
    layer: Layer,
    saved: Sequence[Tensor],
    *,
    wants: Wants,
    reverse: bool = False,
) -> list[Tensor | None]:
    """Gradients with respect to x, h, c and each weight; where one is not wanted it may be None.

    Args:
        engine: The engine that ran forward.
        upstream: Gradients of the five outputs; None is zero.
        layer: The case.
        saved: Output, cells and gates of the forward run; ``torch`` runs again instead.
        wants: Which gradients are wanted.
        reverse: As in the forward run.
    """
    if engine == "native":
        return differentiate_native(upstream, *layer, saved, wants=wants, reverse=reverse)
    if engine == "torch":
        return [*_differentiate_aten(upstream, layer)]
    return [*_differentiate_reference(upstream, layer, saved, reverse)]


def is_batched(upstream: Sequence[Tensor | None]) -> bool:
    """Whether many gradients are asked for at once (``is_grads_batched``, or vmap around autograd.grad)."""
    if torch.compiler.is_compiling():
        return False
    legacy = torch._C._functorch.is_legacy_batchedtensor  # pyright: ignore
    return torch._C._are_functorch_transforms_active() or any(legacy(grad) for grad in upstream if grad is not None)


def differentiate_equations(upstream: Sequence[Tensor | None], layer: Layer) -> list[Tensor | None]:
    """The gradients that are wanted by autograd through the reference, which may be batched."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        output, state, *trace = run_equations(layer, cells=True, gates=True)
    results = output, *state, *trace
    outputs: list[Any] = [result for result, grad in zip(results, upstream, strict=True) if grad is not None]
    grads = [grad for grad in upstream if grad is not None]
    values = [layer.x, layer.h, layer.c, *layer.weights]
    wanted = [value for value in values if value.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, grads, allow_unused=True, create_graph=create_graph))
    return [next(found) if value.requires_grad else None for value in values]


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


def _differentiate_reference(
    upstream: Sequence[Tensor | None], layer: Layer, saved: Sequence[Tensor], reverse: bool
) -> list[Tensor]:
    x, h, c, weights, lengths, resets = layer
    D = h.shape[0]
    steps = mark_steps(torch, x, lengths, resets)
    kept = [value.chunk(D, -1) for value in saved]
    given = _per_direction(upstream, D)
    gradients = [
        run_direction_backward(
            torch,
            w,
            Saved(x, h[d], c[d], *(value[d] for value in kept)),
            given[d],
            steps,
            backwards=reverse or d == 1,
        )
        for d, w in enumerate(split_weights(weights, D))
    ]
    dx = reduce(add, (g.x for g in gradients))
    dweights = [grad for g in gradients for grad in _join_weights(g.weights)]
    return [dx, torch.stack([g.h for g in gradients]), torch.stack([g.c for g in gradients]), *dweights]


def _per_direction(upstream: Sequence[Tensor | None], num_directions: int) -> list[Upstream]:
    split = [
        [None] * num_directions if grad is None else grad.unbind(0) if k in (1, 2) else grad.chunk(num_directions, -1)
        for k, grad in enumerate(upstream)
    ]
    return [Upstream(*(parts[d] for parts in split)) for d in range(num_directions)]


def _run_aten(layer: Layer) -> tuple[Tensor, Tensor, Tensor]:
    x, h, c, weights, lengths, _ = layer
    n = len(weights) // h.shape[0]
    options = AtenOptions(1, bias=n > 3, bidirectional=h.shape[0] == 2, projection=n in (3, 5))
    if lengths is None:
        return run_aten(x, h, c, list(weights), options)
    return run_aten_lengths(x, h, c, list(weights), lengths, options)


def _differentiate_aten(upstream: Sequence[Tensor | None], layer: Layer) -> list[Tensor]:
    with autograd_inside_op():
        inputs = [value.detach().requires_grad_() for value in (layer.x, layer.h, layer.c, *layer.weights)]
        x, h, c, *weights = inputs
        results = _run_aten(Layer(x, h, c, weights, layer.lengths, layer.resets))
        outputs = [result for result, grad in zip(results, upstream, strict=False) if grad is not None]
        grads = [grad for grad in upstream if grad is not None]
        gradients = torch.autograd.grad(outputs, inputs, grads, allow_unused=True, materialize_grads=True)
    return [gradient.contiguous() for gradient in gradients]


@contextmanager
def autograd_inside_op() -> Iterator[None]:
    """Inside a custom op torch has switched autograd off below ``enable_grad``; switch it on again."""
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in (torch._C.DispatchKey.AutogradFunctionality, torch._C.DispatchKey.AutogradOther):
        excluded = excluded.remove(key)
    with torch.enable_grad(), torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded):
        yield
