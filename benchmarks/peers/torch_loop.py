"""A loop in Python over torch's operations: what one writes where torch lacks a cell. Here an LSTM with layer norms."""

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.peers import Prepared
from benchmarks.peers.tensors import load, prepare_tensors

EPSILON = 1e-5


class LayerNormLSTM(nn.Module):
    """Ba, Kiros & Hinton 2016: both products and the cell state that the output reads are normalised."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def forward(self, x: Tensor) -> Tensor:
        """``x (T, B, I)`` to ``(T, B, H)``; the input's products of all steps are one."""
        p = {name.removesuffix("_l0"): value for name, value in self.named_parameters()}
        rows, H = p["weight_hh"].shape
        bias = p["bias_ih"] + p["bias_hh"]
        sums = layer_norm(linear(x, p["weight_ih"]), (rows,), p["gain_ih"], bias, EPSILON)
        h = c = x.new_zeros(x.shape[1], H)
        outputs: list[Tensor] = []
        for step in sums.unbind():
            z = step + layer_norm(linear(h, p["weight_hh"]), (rows,), p["gain_hh"], None, EPSILON)
            i, f, g, o = z.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * layer_norm(c, (H,), p["gain_c"], p["bias_c"], EPSILON).tanh()
            outputs.append(h)
        return torch.stack(outputs)


def prepare(case: Case, data: Data) -> Prepared:
    """The loop over time.

    Raises:
        ValueError: another cell; nobody has written its loop.
    """
    if data.spec.variant.layer_norm != "ba":
        raise ValueError(f"there is no loop for {case.name}")
    layer = LayerNormLSTM(data.spec.parameter_shapes())
    load(layer, case, data)
    return prepare_tensors(case, data, layer, lambda x, lengths: (layer(x), {}))
