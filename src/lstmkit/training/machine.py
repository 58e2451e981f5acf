"""The border to Hugging Face Accelerate: device, precision, processes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from lstmkit.spec.errors import OptionError
from lstmkit.training.config import TrainingConfig

Loss: TypeAlias = Callable[[nn.Module, Any], Tensor]


class Machine:
    """One module and its optimizer on the device and among the processes that Accelerate found.

    Entered, it holds Accelerate's state, which is global; left, it gives that back as it was.
    """

    def __init__(self, module: nn.Module, config: TrainingConfig) -> None:
        self.module = module
        self.config = config

    def __enter__(self) -> "Machine":
        self._state_is_ours = not AcceleratorState._shared_state
        self._attributes = set(vars(self.module))
        try:
            self.accelerator = self._accelerator()
            self.prepared = self.accelerator.prepare_model(self.module)
            self.optimizer = _optimizer(self.module, self.config)
        except BaseException:
            self.__exit__()
            raise
        self._weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        self._clip = float("inf") if self.config.gradient_clip is None else self.config.gradient_clip
        self.device, self.scaler = self.accelerator.device, self.accelerator.scaler
        self.processes, self.is_main = self.accelerator.num_processes, self.accelerator.is_main_process
        return self

    def __exit__(self, *_: object) -> None:
        for name in set(vars(self.module)) - self._attributes:
            delattr(self.module, name)  # Accelerate's mixed-precision wrap of forward
        if self._state_is_ours:
            AcceleratorState._reset_state(reset_partial_state=True)

    def _accelerator(self) -> Accelerator:
        wanted = self.config.device
        if wanted == "cuda" and not torch.cuda.is_available():
            raise OptionError("device is 'cuda', but torch finds no GPU here; use device='cpu' or None")
        try:
            return Accelerator(mixed_precision=self.config.mixed_precision, cpu=wanted == "cpu")
        except ValueError as error:
            raise OptionError(f"Accelerate cannot train so: {error}") from None

    def forward_backward(self, loss: Loss, batch: Any) -> Tensor:
        """The loss of one batch, with its gradients left in the weights."""
        value = loss(self.prepared, to_device(batch, self.device))
        if not isinstance(value, Tensor) or value.ndim or not value.requires_grad:
            raise OptionError(f"loss must return a scalar tensor that depends on the weights, not {_describe(value)}")
        # Accelerate's own backward and optimizer wrappers search the file system for packages in every step.
        (value if self.scaler is None else self.scaler.scale(value)).backward()
        return value

    def update(self, loss: Tensor, learning_rate: float) -> Tensor:
        """Clip and take one step, unless loss or gradient are not finite; 1.0 on the device if so, else 0.0."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self._weights, self._clip)
        skipped = ((norm + self._mean(loss.detach())) * 0).isnan().float()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.scaler is None:
            vars(self.optimizer)["found_inf"] = skipped  # the fused kernel skips by itself, so nobody waits
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return skipped

    def share(self, batches: Any) -> Iterator[Any]:
        """This process's part of an epoch: a step sees one batch per process, and a last odd round is left out."""
        rounds: list[Any] = []
        for batch in batches:
            rounds.append(batch)
            if len(rounds) == self.processes:
                yield rounds[self.accelerator.process_index]
                rounds = []

    def agree(self, value: Any) -> Any:
        """The main process's value, on every process."""
        if self.processes == 1:
            return value
        values = [value]
        broadcast_object_list(values)
        return values[0]

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The optimizer's memory by weight number and name."""
        memory: dict[int, dict[str, Tensor]] = self.optimizer.state_dict()["state"]
        return {
            f"{number}/{name}": tensor
            for number, named in memory.items()
            for name, tensor in named.items()
            if tensor is not None  # SGD without momentum
        }

    def scaler_numbers(self) -> dict[str, Any]:
        """The state of the loss scaler of fp16; empty without one."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load(self, optimizer_tensors: Mapping[str, Tensor], scaler_numbers: dict[str, Any]) -> None:
        """Put back what :meth:`optimizer_tensors` and :meth:`scaler_numbers` gave.

        Raises:
            ValueError: a tensor is not of its weight's shape.
        """
        memory: dict[int, dict[str, Tensor]] = {}
        for full_name, tensor in optimizer_tensors.items():
            number, _, name = full_name.partition("/")
            if tensor.shape != (() if name == "step" else self._weights[int(number)].shape):
                raise ValueError(full_name)
            memory.setdefault(int(number), {})[name] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": memory, "param_groups": groups})
        if self.scaler is not None:
            self.scaler.load_state_dict(scaler_numbers)

    def _mean(self, value: Tensor) -> Tensor:
        return value if self.processes == 1 else cast(Tensor, self.accelerator.reduce(value, reduction="mean"))


def to_device(batch: Any, device: torch.device) -> Any:
    """Every tensor and array of a nested batch on the device; anything else as it is."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, np.ndarray):
        return torch.as_tensor(batch, device=device)
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        return type(batch)(to_device(value, device) for value in batch)  # pyright: ignore[reportCallIssue]
    return batch


def _optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    if not weights:
        raise OptionError("the module has no weights to train: none of its parameters requires a gradient")
    kind = torch.optim.SGD if config.optimizer == "sgd" else torch.optim.AdamW
    return kind(_groups(weights, config.weight_decay), lr=config.learning_rate, fused=True)


def _groups(weights: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, biases and gains do not. One group is faster than two, so without decay it is one."""
    if weight_decay == 0:
        return [{"params": weights, "weight_decay": 0.0}]
    matrices, vectors = ([w for w in weights if (w.ndim >= 2) is wanted] for wanted in (True, False))
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _describe(value: object) -> str:
    if not isinstance(value, Tensor):
        return repr(type(value).__name__)
    return f"a tensor of shape {tuple(value.shape)}" + ("" if value.requires_grad else " without a gradient")
