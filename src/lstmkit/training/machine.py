"""The border to Hugging Face Accelerate: device, precision, processes."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from lstmkit.core import bfloat16_gain
from lstmkit.spec.errors import LSTMKitError, OptionError
from lstmkit.spec.processes import process_count
from lstmkit.training.adamw import can_step_at_once, step_at_once
from lstmkit.training.averaging import Following
from lstmkit.training.config import TrainingConfig
from lstmkit.training.group import Answer, Group
from lstmkit.training.nested import to_device
from lstmkit.training.rows import Tables, gradient_rows

Loss: TypeAlias = Callable[[nn.Module, Any], Answer]
Value = TypeVar("Value")


class Machine:
    """One module and its optimizer on the device and among the processes that Accelerate found.

    Entered, it holds Accelerate's state, which is global; left, it gives that back as it was.
    """

    def __init__(self, module: nn.Module, config: TrainingConfig, whole: Collection[str] = ()) -> None:
        self.module, self.config, self.whole = module, config, whole

    def __enter__(self) -> "Machine":
        self._state_is_ours = not AcceleratorState._shared_state
        self._attributes = set(vars(self.module))
        self._tables: Tables | None = None
        try:
            self.accelerator = self._accelerator()
            # Without Accelerate's wrapper for several processes: Group adds the gradients up, whatever a loss calls.
            self.prepared = self.accelerator.prepare_model(self.module, evaluation_mode=True)
            self.optimizer = _optimizer(self.module, self.config)
        except BaseException:
            self.__exit__()
            raise
        self._weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        self._clip = float("inf") if self.config.gradient_clip is None else self.config.gradient_clip
        self.device, self.scaler = self.accelerator.device, self.accelerator.scaler
        self.is_main = self.accelerator.is_main_process
        self.group = Group(self.accelerator.process_index, self.accelerator.num_processes, self.device, self.whole)
        self.group.start_alike(self.module)
        plain = self.config.optimizer == "sgd" and self.config.weight_decay == 0
        alone = self.device.type == "cpu" and self.group.count == 1 and self.scaler is None
        self._tables = Tables(self.module) if plain and alone else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._tables is not None:
            self._tables.release()
        for name in set(vars(self.module)) - self._attributes:
            delattr(self.module, name)  # Accelerate's mixed-precision wrap of forward
        if self._state_is_ours:
            AcceleratorState._reset_state(reset_partial_state=True)

    def _accelerator(self) -> Accelerator:
        wanted = self.config.device
        if wanted == "cuda" and not torch.cuda.is_available():
            raise OptionError("device is 'cuda', but torch finds no GPU here; use device='cpu' or None")
        # Without a GPU Accelerate joins processes only where it is told so; each would train for itself.
        cpu = wanted == "cpu" or (process_count() > 1 and not torch.cuda.is_available())
        precision = self.config.mixed_precision
        try:
            found = Accelerator(mixed_precision=_best_precision(cpu) if precision == "auto" else precision, cpu=cpu)
        except ValueError as error:
            raise OptionError(f"Accelerate cannot train so: {error}") from None
        if found.num_processes != process_count():
            raise OptionError(
                f"the environment (WORLD_SIZE) speaks of {process_count()} processes, Accelerate found "
                f"{found.num_processes}; start them with torchrun or accelerate launch, or unset WORLD_SIZE and RANK"
            )
        return found

    def forward_backward(self, loss: Loss, batch: Any, step: int) -> Tensor:
        """The loss of one batch, with its gradients left in the weights; the same in every process."""
        batch, part = self.group.take(batch)
        with self.group.own_randomness(self.config.seed, step):
            value = self.group.weigh(_checked(loss(self.prepared, to_device(batch, self.device))), part)
            # Accelerate's own backward and optimizer wrappers search the file system for packages in every step.
            (value if self.scaler is None else self.scaler.scale(value)).backward()
        return self.group.add(self._weights, value.detach())

    def update(self, loss: Tensor, learning_rate: float, following: Following | None) -> Tensor:
        """Clip and take one step, unless loss or gradient are not finite; 1.0 on the device if so, else 0.0.

        Averages follow in any case.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.scaler is None and can_step_at_once(self.optimizer):
            skipped = step_at_once(self.optimizer, loss, self._clip, following)
        else:
            skipped = self._step(loss, learning_rate)
            if following is not None:
                following.take_in()
        for weight in self._weights:  # as the optimizer's own zero_grad does it, at length
            weight.grad = None
        return skipped

    def _step(self, loss: Tensor, learning_rate: float) -> Tensor:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        rows = [] if self._tables is None else gradient_rows(self._weights)
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        norm = get_total_norm([*gradients, *(each.values for each in rows)])
        skipped = ((norm + loss) * 0).isnan().float()
        if self.scaler is None:
            # The fused kernel clips and skips by itself: gradients are read once less, and nobody waits.
            excess = ((norm + 1e-6) / self._clip).clamp(min=1.0)
            vars(self.optimizer).update(found_inf=skipped, grad_scale=excess)
            self.optimizer.step()
            for each in rows if not skipped else ():
                each.step(learning_rate / float(excess))
        else:
            clip_grads_with_norm_(self._weights, self._clip, norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return skipped

    def agree(self, value: Value) -> Value:
        """The main process's value, on every process."""
        return self.group.agree(value)

    def by_main(self, work: Callable[[], Value]) -> Value:
        """What the main process alone has done; its result, or its error, on every process."""
        done: Any = None
        if self.is_main:
            try:
                done = work(), None
            except LSTMKitError as error:
                done = None, error
        value, error = self.agree(done)
        if error is not None:
            raise error
        return value

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


def _best_precision(cpu: bool) -> str:
    """``"bf16"`` where the processor multiplies such numbers faster, else ``"no"``."""
    if not cpu and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    gain = bfloat16_gain() if has() else 0
    return "bf16" if gain is None or gain > _LEAST_GAIN else "no"


# What is narrower is rounded more often too.
_LEAST_GAIN = 1.25


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


def _checked(answer: Any) -> Answer:
    """The answer of a loss, if it can be one."""
    if isinstance(answer, Tensor):
        return _scalar(answer)
    if isinstance(answer, list):
        return [_mean(pair) for pair in answer] or _mean(None)
    return _mean(answer)


def _mean(pair: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise OptionError(f"loss must return a scalar tensor, or a sum and its count, not {_describe(pair)}")
    total = _scalar(pair[0])
    return total, torch.as_tensor(pair[1], device=total.device)


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim or not value.requires_grad:
        raise OptionError(f"loss must return a scalar tensor that depends on the weights, not {_describe(value)}")
    return value


def _describe(value: object) -> str:
    if not isinstance(value, Tensor):
        return repr(type(value).__name__)
    return f"a tensor of shape {tuple(value.shape)}" + ("" if value.requires_grad else " without a gradient")
