"""Several processes that compute one batch together, so that they train as one process would."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, distributed, nn

from lstmkit.spec.errors import OptionError
from lstmkit.training import randomness
from lstmkit.training.nested import row_counts, take_rows

# What a loss may return.
Answer: TypeAlias = Tensor | tuple[Tensor, Tensor] | list[tuple[Tensor, Tensor]]


class Group:
    """The processes of a run. Of every batch each takes some rows, and the gradients are added up.

    Data, shuffling and validation see the same random numbers everywhere; inside :meth:`own_randomness`
    (dropout) each process has its own.

    Args:
        number: Of this process; 0 is the main one.
        count: Of all processes.
        device: Where the weights are.
        whole: Names of arrays of a batch that are not one row per example, and not shared out.
    """

    def __init__(self, number: int, count: int, device: torch.device, whole: Collection[str] = ()) -> None:
        self.number, self.count, self.device, self.whole = number, count, device, whole

    def start_alike(self, module: nn.Module) -> None:
        """Begin everywhere with the weights and buffers of the main process."""
        if self.count > 1:
            for tensor in (*module.parameters(), *module.buffers()):
                distributed.broadcast(tensor.data, 0)

    def take(self, batch: Any) -> tuple[Any, float]:
        """This process's rows of a batch, every ``count``-th, and the part of all rows that they are.

        A process for which none is left takes one that counts nothing.

        Raises:
            OptionError: the batch's arrays do not agree on the number of rows.
        """
        if self.count == 1:
            return batch, 1.0
        sizes = row_counts(batch, self.whole)
        if len(sizes) != 1 or 0 in sizes:
            raise OptionError(
                "to be shared among processes, arrays of a batch must have one row per example, or be named in whole=; "
                f"here their first dimensions are {sorted(sizes)}"
            )
        rows = sizes.pop()
        mine = len(range(self.number, rows, self.count))
        own = slice(self.number, None, self.count) if mine else slice(1)
        return take_rows(batch, own, self.whole), mine / rows

    def weigh(self, answer: Answer, part: float) -> Tensor:
        """What this process adds to the loss of the whole batch.

        Args:
            answer: A mean over rows; or a mean as a sum and the number of what it sums; or several such, to be added.
            part: Of the rows, which are this process's.
        """
        if isinstance(answer, Tensor):
            return answer if self.count == 1 else answer * part
        means = answer if isinstance(answer, list) else [answer]
        counts = torch.stack([count.detach().double() for _, count in means])
        if self.count > 1:
            counts = self._sum(counts * bool(part))
        counts = torch.where(counts == 0, 1.0, counts)
        shares = [total / count.to(total.dtype) for (total, _), count in zip(means, counts, strict=True)]
        return torch.stack(shares).sum() * (1.0 if part else 0.0)

    def add(self, weights: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Replace gradients and loss by their sums over the processes; a weight that nobody used keeps none."""
        if self.count == 1:
            return loss
        used = loss.new_tensor([weight.grad is not None for weight in weights], dtype=torch.float32)
        parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        sums = self._sum(torch.cat([loss[None], used, *(part.flatten() for part in parts)]))
        loss, used, gradients = sums[0], sums[1 : 1 + len(weights)], sums[1 + len(weights) :]
        pieces = gradients.split([weight.numel() for weight in weights])
        for weight, someone, piece in zip(weights, used.tolist(), pieces, strict=True):
            weight.grad = piece.view_as(weight).to(weight.dtype) if someone else None
        return loss

    @contextmanager
    def own_randomness(self, seed: int, step: int) -> Iterator[None]:
        """For a block, random numbers of this process and step; afterwards the processes are in step again."""
        if self.count == 1:
            yield
            return
        with randomness.seeded(int(np.random.SeedSequence((seed, step, self.number)).generate_state(1)[0])):
            yield

    def join_states(self, module: nn.Module) -> None:
        """Give every process the states of all rows, where a module carries them from batch to batch.

        Its ``row_states`` names buffers in which each process has set those of its own rows, and the rest to zero.
        """
        if self.count == 1:
            return
        for name in getattr(module, "row_states", ()):
            state = module.get_buffer(name)
            own = torch.where(state == 0, -torch.inf, state)
            distributed.all_reduce(own, distributed.ReduceOp.MAX)
            state.copy_(torch.where(own.isinf(), 0, own))

    def agree(self, value: Any) -> Any:
        """The main process's value, on every process."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, device=self.device)
        return values[0]

    def _sum(self, value: Tensor) -> Tensor:
        value = value.contiguous()
        distributed.all_reduce(value)
        return value
