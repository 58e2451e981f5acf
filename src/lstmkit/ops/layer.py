"""The boundary: one opaque op per layer and sequence, so that a compiled or exported graph holds one node.

Three ops: ``lstmkit::lstm_layer``, its gradient ``lstm_layer_backward``, and Python for the
gradient of the gradient. Parameters come in torch's order, direction after direction.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.ops.checks import check_layer
from lstmkit.ops.chunks import count_chunks, differentiate_chunks, run_chunks
from lstmkit.ops.engines import (
    Layer,
    differentiate_engine,
    differentiate_equations,
    is_batched,
    run_engine,
    run_equations,
)
from lstmkit.ops.native import Wants
from lstmkit.ops.native_core import real_dtype
from lstmkit.reference import check_lengths
from lstmkit.spec import EngineError

NUM_OUTPUTS = 5

# Of lengths, resets, engine, trace, chunk_steps and gates_dtype.
_NO_GRADIENT = (None,) * 6


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
    chunk_steps: int,
    gates_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run all directions of one layer: ``x (T, B, I)``, ``h (D, B, R)``, ``c (D, B, H)``.

    With ``trace`` the cell states ``(T, B, D*H)`` and gates ``(4, T, B, D*H)`` of every step come
    back too, otherwise two empty tensors. The gradient needs the trace from the engines ``reference``
    and ``native``; ``torch`` runs the layer again instead.

    With ``chunk_steps`` the trace is cheaper: the states c and h that entered each chunk of so many steps. With
    ``gates_dtype``, see ``kept_gates_dtype``, the engine ``native`` gives gates for the gradient alone.
    """
    check_layer(x, h, c, weights, lengths, resets)
    if lengths is not None:
        check_lengths(lengths, x.shape[0])
    layer = Layer(x, h, c, weights, lengths, resets)
    if chunk_steps and trace:
        return run_chunks(engine, layer, chunk_steps)
    return run_engine(engine, layer, trace=trace, gates_dtype=gates_dtype)


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
    chunk_steps: int,
    gates_dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    T, B, _ = x.shape
    D, _, R = h.shape
    H = c.shape[2]
    results = x.new_empty(T, B, D * R), x.new_empty(D, B, R), x.new_empty(D, B, H)
    if not trace or engine == "torch":
        return *results, x.new_empty(0), x.new_empty(0)
    if chunk_steps:
        N = count_chunks(T, chunk_steps)
        return *results, x.new_empty(N, D, B, H), x.new_empty(N, D, B, R)
    cells_dtype = real_dtype(x.dtype) if engine == "native" else x.dtype
    return *results, x.new_empty(T, B, D * H, dtype=cells_dtype), _fake_gates(x, D * H, engine, gates_dtype)


def _fake_gates(x: Tensor, width: int, engine: str, dtype: torch.dtype | None) -> Tensor:
    T, B, _ = x.shape
    if engine == "native":
        return x.new_empty(T, B, 4, width, dtype=dtype or x.dtype).permute(2, 0, 1, 3)
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
    wants: Sequence[bool],
    chunk_steps: int,
) -> list[Tensor]:
    """Gradients with respect to x, h, c and each weight; empty where they are not wanted.

    ``upstream`` holds the gradients of those of ``lstm_layer``'s five outputs that ``present`` numbers;
    ``saved`` is the output, cells and gates of the forward run, or the states that entered each chunk.
    """
    given = dict(zip(present, upstream, strict=True))
    every = [given.get(k) for k in range(NUM_OUTPUTS)]
    layer = Layer(x, h, c, weights, lengths, resets)
    wanted = Wants(*wants)
    if chunk_steps:
        grads = differentiate_chunks(engine, every, layer, saved, chunk_steps, wanted)
    else:
        grads = differentiate_engine(engine, every, layer, saved, wants=wanted)
    each = wanted.each(len(weights))
    return [x.new_empty(0) if g is None or not w else g for g, w in zip(grads, each, strict=True)]


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
    wants: Sequence[bool],
    chunk_steps: int,
) -> list[Tensor]:
    values = zip((x, h, c, *weights), Wants(*wants).each(len(weights)), strict=True)
    return [value.new_empty(value.shape if want else 0) for value, want in values]


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, h, c, weights, lengths, resets, ctx.engine, trace, ctx.chunk_steps, _ = inputs
    y, _, _, cells, gates = output
    if ctx.engine != "torch" and not trace:
        raise EngineError(f"the gradient of lstm_layer needs trace=True from the engine {ctx.engine!r}")
    saved = [] if ctx.engine == "torch" else [cells, gates] if ctx.chunk_steps else [y, cells, gates]
    ctx.num_weights, ctx.has = len(weights), (lengths is not None, resets is not None)
    ctx.save_for_backward(x, h, c, *weights, *saved, *(mask for mask in (lengths, resets) if mask is not None))
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
    x, h, c, *rest = ctx.saved_tensors
    resets = rest.pop() if ctx.has[1] else None
    lengths = rest.pop() if ctx.has[0] else None
    weights, saved = rest[: ctx.num_weights], rest[ctx.num_weights :]
    if is_batched(upstream):
        dx, dh, dc, *dweights = differentiate_equations(upstream, Layer(x, h, c, weights, lengths, resets))
        return dx, dh, dc, dweights, *_NO_GRADIENT
    present = [k for k, grad in enumerate(upstream) if grad is not None and grad.numel() > 0]
    given = [upstream[k] for k in present]
    needs_x, needs_h, needs_c, needs_weights, *_ = ctx.needs_input_grad
    wants = Wants(needs_x, needs_h or needs_c, any(needs_weights))
    options = ctx.engine, wants, ctx.chunk_steps
    grads = lstm_layer_backward(given, present, x, h, c, weights, lengths, resets, saved, *options)
    each = zip(grads, wants.each(len(weights)), strict=True)
    dx, dh, dc, *dweights = (grad if want else None for grad, want in each)
    return dx, dh, dc, dweights, *_NO_GRADIENT


def _keep_for_double_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    upstream, ctx.present, x, h, c, weights, ctx.lengths, ctx.resets, saved, *_ = inputs
    ctx.num_saved, ctx.num_inputs = len(saved), len(inputs)
    ctx.save_for_backward(*upstream, x, h, c, *weights)


def _double_backward(ctx: Any, tangents: Sequence[Tensor]) -> tuple[Any, ...]:
    """The gradient of the gradient, by autograd through the reference; what was saved is a function of the rest."""
    with torch.enable_grad():
        values = [value.detach().requires_grad_() for value in ctx.saved_tensors]
        n = len(ctx.present)
        upstream, (x, h, c, *weights) = values[:n], values[n:]
        layer = Layer(x, h, c, weights, ctx.lengths, ctx.resets)
        output, state, *trace = run_equations(layer, cells=True, gates=True)
        outputs = [[output, *state, *trace][k] for k in ctx.present]
        first = torch.autograd.grad(outputs, [x, h, c, *weights], upstream, create_graph=True, materialize_grads=True)
        wanted = [(g, v) for g, v in zip(first, tangents, strict=True) if g.requires_grad and g.shape == v.shape]
        second = torch.autograd.grad(
            [g for g, _ in wanted], values, [v for _, v in wanted], allow_unused=True, materialize_grads=True
        )
    dx, dh, dc, *dweights = second[n:]
    nothing = (None,) * (ctx.num_inputs - 9)
    return list(second[:n]), None, dx, dh, dc, dweights, None, None, [None] * ctx.num_saved, *nothing


lstm_layer.register_autograd(_backward, setup_context=_keep_for_backward)
lstm_layer_backward.register_autograd(_double_backward, setup_context=_keep_for_double_backward)
