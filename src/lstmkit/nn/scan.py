"""minLSTM and minGRU on the native core: product and scan of a whole layer in one call, forward and backward."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lstmkit.nn.run import exporting, transforming
from lstmkit.ops import CellLayer, Ways, native, native_available, run_cell_layer
from lstmkit.ops.engines import is_batched
from lstmkit.ops.native import Wants, _dense, _empty, _sequence, _state
from lstmkit.reference import LayerResult
from lstmkit.spec import CellSpec

_GATES = {"minlstm": 3, "mingru": 2}
_PRECISIONS = {torch.float32: "float32", torch.float64: "float64"}

# How the equations are run where the gradient of a gradient, or many at once, are asked for.
_EQUATIONS = Ways("reference", chunk=64)


def scan_obstacle(cell: str, x: Tensor, dtype: torch.dtype, *, gates: bool) -> str | None:
    """Why the core cannot run a layer of this cell on numbers of ``dtype``; None if it can."""
    if cell not in _GATES:
        return f"the native core has no scan of the cell {cell!r}"
    if not native_available():
        return "the native core was not built; lstmkit doctor says why"
    if x.device.type != "cpu":
        return f"the native core runs on CPUs, not on {x.device.type}"
    if dtype not in _PRECISIONS:
        return f"the native scan computes in float32, float64, not {str(dtype).removeprefix('torch.')}"
    if gates:
        return "the native scan does not keep the gates"
    if torch.compiler.is_compiling() or exporting() or transforming() or torch._C._len_torch_dispatch_stack():
        return "the native scan is no operation that compilers and torch.func transforms know"
    return None


def is_scan(cell: str, engine: str) -> bool:
    """Whether a layer that was given to an engine is run by the core's scan."""
    return engine == "native" and cell in _GATES


def run_scan_layer(layer: CellLayer, ways: Ways) -> LayerResult:
    """All directions of one layer; autograd knows its gradient, and that of the gradient by the equations."""
    spec, x, (h,), weights, lengths, resets = layer
    if torch.is_grad_enabled() and any(value.requires_grad for value in (x, h, *weights)):
        output, last = _ScanLayer.apply(spec, lengths, resets, x, h, *weights)  # pyright: ignore
    else:
        output, last, _ = _Course(layer).forward(keep=False)
    return LayerResult(output, (last,), None, None)


class _ScanLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spec: CellSpec, lengths: Tensor | None, resets: Tensor | None, *inputs: Tensor) -> Any:
        x, h, *weights = inputs
        output, last, products = _Course(CellLayer(spec, x, [h], weights, lengths, resets)).forward(keep=True)
        ctx.spec = spec
        ctx.save_for_backward(lengths, resets, output, products, *inputs)
        ctx.set_materialize_grads(False)
        return output, last

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        lengths, resets, output, products, x, h, *weights = ctx.saved_tensors
        wanted = ctx.needs_input_grad[3:]
        layer = CellLayer(ctx.spec, x, [h], weights, lengths, resets)
        if is_batched(upstream) or torch.is_grad_enabled():
            return None, None, None, *_differentiate_equations(upstream, layer, wanted)
        wants = Wants(wanted[0], wanted[1], any(wanted[2:]))
        grads = _Course(layer).backward(upstream, output, products, wants)
        return None, None, None, *(grad if want else None for grad, want in zip(grads, wanted, strict=True))


def _differentiate_equations(
    upstream: Sequence[Tensor | None], layer: CellLayer, wanted: Sequence[bool]
) -> list[Tensor | None]:
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        result = run_cell_layer(layer, _EQUATIONS)
    given = [
        (value, grad) for value, grad in zip((result.output, *result.state), upstream, strict=True) if grad is not None
    ]
    values = [v for v, want in zip((layer.x, *layer.state, *layer.weights), wanted, strict=True) if want]
    outputs, grads = [value for value, _ in given], [grad for _, grad in given]
    found = iter(torch.autograd.grad(outputs, values, grads, allow_unused=True, create_graph=create_graph))
    return [next(found) if want else None for want in wanted]


class _Course:
    """A layer's arguments as the core takes them; keeps alive what the addresses point to."""

    def __init__(self, layer: CellLayer) -> None:
        spec, x, (h,), weights, lengths, resets = layer
        self._cell, self._dtype, self._directions = spec.cell, x.dtype, spec.num_directions
        self._sizes = (*x.shape, spec.hidden_size)  # T, B, I, H
        self._width = _GATES[spec.cell] * spec.hidden_size
        self._x, self._h = _dense(x), _dense(h)
        self._weights = [_dense(w.contiguous()) for w in weights]
        self._lengths = None if lengths is None else lengths.to("cpu", torch.int64).contiguous()
        self._resets = None if resets is None else resets.contiguous()

    def forward(self, *, keep: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Output ``(T, B, D*H)``, last state ``(D, B, H)`` and, to keep for backward, the products ``(T, B, D*G*H)``."""
        (T, B, _, H), D = self._sizes, self._directions
        output, last = _empty((T, B, D * H), self._dtype), _empty((D, B, H), self._dtype)
        products = _empty((T, B, D * self._width), self._dtype) if keep else None
        for d in range(D):
            kept = _sequence(products, d * self._width)
            self._run(native.core.scan_forward, self._direction(d), _sequence(output, d * H), _state(last, d), kept)
        return output, last, products

    def backward(
        self, upstream: Sequence[Tensor | None], output: Tensor, products: Tensor, wants: Wants
    ) -> list[Tensor | None]:
        """Gradients with respect to x, h and each weight; those that are not wanted may be None."""
        (T, B, I, H), D = self._sizes, self._directions  # noqa: E741
        grad_output, grad_last = (None if grad is None else _dense(grad) for grad in upstream)
        dx = [_empty((T, B, I), self._dtype) if wants.x else None for _ in range(D)]
        dh = _empty((D, B, H), self._dtype) if wants.state else None
        dweights: list[Tensor | None] = []
        for d in range(D):
            weight, bias = (
                _empty(shape, self._dtype) if wants.weights else None for shape in ((self._width, I), (self._width,))
            )
            self._run(
                native.core.scan_backward,
                self._direction(d),
                _sequence(output, d * H),
                _sequence(products, d * self._width),
                _sequence(grad_output, d * H),
                _state(grad_last, d),
                _sequence(dx[d], 0),
                _state(dh, d),
                _address(weight),
                _address(bias),
            )
            dweights += [weight, bias][: len(self._weights) // D]
        joined = dx[0] if D == 1 or dx[0] is None or dx[1] is None else dx[0].add_(dx[1])
        return [joined, dh, *dweights]

    def _run(self, function: Any, *arguments: Any) -> None:
        function(*arguments, torch.get_num_threads(), native.instruction_set, _PRECISIONS[self._dtype])

    def _direction(self, d: int) -> tuple[Any, ...]:
        weight, *bias = self._weights[d * len(self._weights) // self._directions :][
            : len(self._weights) // self._directions
        ]
        return (
            self._cell,
            self._sizes,
            _sequence(self._x, 0),
            _state(self._h, d),
            weight.data_ptr(),
            _address(bias[0] if bias else None),
            _address(self._lengths),
            _address(self._resets),
            d == 1,
        )


def _address(value: Tensor | None) -> int:
    return 0 if value is None else value.data_ptr()
