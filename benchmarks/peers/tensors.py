"""What every peer on torch does alike."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.data import Data, Values
from benchmarks.peers import Prepared

# x and lengths to the output and whatever else comes back.
Forward = Callable[[Tensor, Tensor | None], tuple[Tensor, dict[str, Tensor]]]


def load(module: torch.nn.Module, case: Case, data: Data, renamed: Callable[[str], str] = str) -> torch.nn.Module:
    """The module with the case's numbers in the case's dtype."""
    parameters = {renamed(name): torch.from_numpy(value) for name, value in data.parameters.items()}
    module.load_state_dict(parameters)
    return module.to(getattr(torch, case.dtype))


def prepare_tensors(case: Case, data: Data, module: torch.nn.Module, forward: Forward, note: str = "") -> Prepared:
    """Forward, and backward for every gradient if the case trains."""
    dtype, train = getattr(torch, case.dtype), case.task == "train"
    x = torch.from_numpy(data.x).to(dtype).requires_grad_(train)
    grad_output = torch.from_numpy(data.grad_output).to(dtype)
    lengths = None if data.lengths is None else torch.from_numpy(data.lengths)
    wanted = {"x": x, **dict(module.named_parameters())}

    def run() -> Any:
        with torch.set_grad_enabled(train):
            output, more = forward(x, lengths)
            gradients = torch.autograd.grad(output, list(wanted.values()), grad_output) if train else ()
        return output, more, gradients

    def read(result: Any) -> Values:
        output, more, gradients = result
        named = {"output": output, **more, **dict(zip(wanted, gradients, strict=False))}
        return {_plain(name): value.detach().float().numpy() for name, value in named.items()}

    return Prepared(run, read, note or f"torch {torch.__version__}")


def _plain(name: str) -> str:
    """LSTMCell's names lack the layer."""
    return f"{name}_l0" if name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") else name
