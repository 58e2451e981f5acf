"""The loop: batches in, a trained module out. It knows no task."""

import warnings
from collections.abc import Collection
from contextlib import ExitStack

from torch import nn

from lstmkit.training import randomness
from lstmkit.training.config import TrainingConfig
from lstmkit.training.interrupt import Interrupt
from lstmkit.training.log import RunLog
from lstmkit.training.machine import Loss, Machine
from lstmkit.training.progress import Silence, choose_progress
from lstmkit.training.result import TrainingResult
from lstmkit.training.run import Run, TrainBatches, Validate


def fit(
    module: nn.Module,
    train_batches: TrainBatches,
    *,
    loss: Loss,
    config: TrainingConfig,
    validate: Validate | None = None,
    whole: Collection[str] = (),
    identity: str = "",
    title: str = "training",
) -> TrainingResult:
    """Train ``module`` in place.

    Args:
        module: Ends with the best validated weights, or with the last ones without ``validate``
            (averaged ones if ``config.averaging``), on the device that was trained on.
        train_batches: ``train_batches(epoch)`` gives that pass's batches: an iterable that knows its
            length and depends on nothing but the epoch and the global random states. A batch is any
            nesting of tuples, lists and dicts of tensors and arrays.
        loss: ``loss(module, batch)`` gives a scalar tensor, the mean over the rows of the batch; or, where it is a
            mean over something else such as the tokens inside, a pair of scalar tensors, their sum and their
            number; or a list of such pairs, whose means are added. The batch is on the device by then. Of several
            processes each sees some rows of it.
        config: Everything that can be chosen.
        validate: ``validate(module)`` gives a score, lower is better; the module is in evaluation
            mode and no gradients are recorded.
        whole: Names of arrays of a batch that are not one row per example, which each of several processes gets as
            they are.
        identity: Names data and task; a checkpoint with another identity is refused.
        title: Stands before the progress.

    Raises:
        OptionError: the loss is no scalar, there is nothing to train, or the checkpoint is of another run.
        DataError: an epoch has no batches.
        LSTMKitError: loss or gradient stay non-finite, or a file cannot be written.

    Example:
        >>> import torch
        >>> data = [(torch.full((4, 1), float(n)), torch.full((4, 1), 2.0 * n)) for n in range(3)]
        >>> module = nn.Linear(1, 1)
        >>> config = TrainingConfig(max_steps=200, learning_rate=0.1, quiet=True, device="cpu")
        >>> result = fit(module, lambda epoch: data, loss=lambda m, b: (m(b[0]) - b[1]).square().mean(), config=config)
        >>> result.stopped, bool(abs(module(torch.tensor([[5.0]])) - 10) < 0.1)
        ('steps', True)
    """
    with ExitStack() as stack:
        if config.quiet:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        stack.enter_context(randomness.seeded(config.seed))
        machine = stack.enter_context(Machine(module, config, whole))
        interrupt = stack.enter_context(Interrupt())
        log = stack.enter_context(RunLog(config.log if machine.is_main else None))
        progress = stack.enter_context(choose_progress(title, config.quiet) if machine.is_main else Silence())
        run = Run(module, train_batches, loss, validate, config, identity, machine, interrupt, log, progress)
        return run.execute()
