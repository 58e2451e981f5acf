"""One training run, from its first step or a checkpoint to its result."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from torch import nn

from lstmkit.spec.errors import DataError, LSTMKitError, OptionError
from lstmkit.training import randomness, watch
from lstmkit.training.averaging import triggers
from lstmkit.training.checkpoint import (
    Checkpoint,
    check_same_module,
    check_same_run,
    damaged,
    load_checkpoint,
    save_checkpoint,
)
from lstmkit.training.config import TrainingConfig
from lstmkit.training.interrupt import Interrupt
from lstmkit.training.log import RunLog
from lstmkit.training.machine import Loss, Machine
from lstmkit.training.progress import Progress, Status
from lstmkit.training.result import StopReason, TrainingResult, Validation
from lstmkit.training.schedule import learning_rate, run_fraction
from lstmkit.training.state import RunState
from lstmkit.training.tally import Tally
from lstmkit.training.weights import Weights

TrainBatches: TypeAlias = Callable[[int], Any]
Validate: TypeAlias = Callable[[nn.Module], float]

# Looking waits for the device, so it is done now and then; this many bad steps in a row end the run.
_STEPS_PER_CHECK = 50
_SKIPPED_IN_A_ROW = 10
_CHECKPOINT_SECONDS = 60.0


@dataclass
class Run:
    """What :func:`fit` was given, and what it found around it; ``execute`` is the story."""

    module: nn.Module
    train_batches: TrainBatches
    loss: Loss
    validate: Validate | None
    config: TrainingConfig
    identity: str
    machine: Machine
    interrupt: Interrupt
    log: RunLog
    progress: Progress

    def __post_init__(self) -> None:
        self.state = RunState()
        self.weights = Weights(self.module, self.config.averaging)
        self.tally = Tally()
        self.steps_per_epoch = self._count_steps()
        self.total_steps = self._total_steps()
        self.skips_told = 0
        self.updating = False
        self.began, self.seconds_before, self.clock, self.saved = time.perf_counter(), 0.0, 0.0, 0.0
        self.epoch_random = randomness.capture()
        self.resume_random: randomness.Randomness | None = None

    def execute(self) -> TrainingResult:
        """Train to the end, whichever it is."""
        self.resumed_from = self._resume()
        self.began = time.perf_counter()
        self.first_step, self.seconds_before = self.state.step, self.state.seconds
        self.clock = self.saved = self.seconds_before
        self.log.write("start", step=self.state.step, resumed=self.resumed_from is not None, config=self._fingerprint())
        self.module.train()
        try:
            stopped = self._train()
            self._finish(stopped)
        finally:
            self.weights.restore_modes()
        result = self._result(stopped)
        self.log.write("end", **{name: value for name, value in vars(result).items() if name != "validations"})
        return result

    def _train(self) -> StopReason:
        try:
            stopped = self._stop_reason()
            while stopped is None:
                stopped = self._epoch()
        except KeyboardInterrupt:
            if self.interrupt.requested:
                raise
            stopped = "interrupted"
        return stopped

    def _epoch(self) -> StopReason | None:
        for batch in self._open_epoch():
            self._step(batch)
            if stopped := self._after_step():
                return stopped
        if self.state.batch == 0:
            raise DataError(f"epoch {self.state.epoch} gave no batches, although its length says otherwise")
        self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        if self.validate is not None and self.config.validate_every is None:
            self._validate()
        return self._stop_reason()

    def _open_epoch(self) -> Iterator[Any]:
        """The rest of the present epoch."""
        if self.resume_random is not None and self.state.batch > 0:
            return self._reopen_epoch(self.resume_random)
        if self.resume_random is not None:
            randomness.restore(*self.resume_random)
            self.resume_random = None
        self.epoch_random = randomness.capture()
        if self.validate is None:
            self.tally.reset_loss()
        return iter(self.train_batches(self.state.epoch))

    def _reopen_epoch(self, random_now: randomness.Randomness) -> Iterator[Any]:
        """An epoch begun before the checkpoint: opened with the random states of then, gone on with those of now."""
        randomness.restore(*self.epoch_random)
        batches = iter(self.train_batches(self.state.epoch))
        for _ in islice(batches, self.state.batch):
            pass
        randomness.restore(*random_now)
        self.resume_random = None
        return batches

    def _step(self, batch: Any) -> None:
        loss = self.machine.forward_backward(self.loss, batch, self.state.step)
        # The middle of the step: neither the first nor the last of a schedule is taken with a rate of 0.
        fraction = run_fraction(self.state.step + 0.5, self.total_steps, self.clock, self.config.time_limit)
        self.state.rate = learning_rate(self.config, fraction)
        average = self.weights.average
        following = None if average is None else average.following(self.state.step + 1, self.state.averaged_from)
        self.updating = True
        self.tally.add(loss, self.machine.update(loss, self.state.rate, following))
        self.state.step += 1
        self.state.batch += 1
        self.updating = False

    def _after_step(self) -> StopReason | None:
        step, config = self.state.step, self.config
        if step % _STEPS_PER_CHECK == 0:
            self._check_finite()
        if self.log.active and step % config.log_every == 0:
            self.log.write(
                "train", step=step, epoch=self.state.epoch, loss=self.tally.mean_loss(), learning_rate=self.state.rate
            )
        if self.validate is not None and config.validate_every and step % config.validate_every == 0:
            self._validate()
        elif self.progress.due():
            self.progress.show(self._status())
        stopped = self._stop_reason()
        if stopped is None and self._checkpoint_due():
            self._save()
        return stopped

    def _stop_reason(self) -> StopReason | None:
        config, state = self.config, self.state
        reason: StopReason | None = None
        if config.max_steps and state.step >= config.max_steps:
            reason = "steps"
        elif config.max_epochs and state.epoch >= config.max_epochs:
            reason = "epochs"
        elif config.patience and state.stale >= config.patience:
            reason = "patience"
        elif config.time_limit and self._seconds() >= 60 * config.time_limit:
            reason = "time"
        elif self.interrupt.requested:
            reason = "interrupted"
        # The clock is agreed on too: the learning rate may follow it, and checkpoints do.
        reason, self.clock = self.machine.agree((reason, self._seconds()))
        return reason

    def _validate(self) -> None:
        assert self.validate is not None
        with self.weights.to_validate():
            score = self.machine.agree(_as_score(self.validate(self.module)))
            state, loss = self.state, self.tally.mean_loss()
            validation = Validation(state.step, state.epoch, loss, score, self.state.rate, self._seconds())
            if state.note(validation):
                self.weights.keep_best()
        if self.config.averaging == "triggered" and state.averaged_from is None:
            state.averaged_from = state.step if triggers([each.score for each in state.validations]) else None
        self.log.write("validation", **vars(validation))
        self.progress.show(self._status(), validated=True)
        self.tally.reset_loss()
        watch.tell(validation)

    def _check_finite(self) -> None:
        """End a run that no longer moves; say once more when steps were skipped."""
        counts = self.tally.counts()
        streak, skipped = counts.streak, counts.skipped
        if streak >= _SKIPPED_IN_A_ROW or skipped == self.state.step > 0:
            self.weights.finish()
            raise LSTMKitError(
                f"the loss or its gradient was not finite in {streak} steps in a row, up to step {self.state.step} "
                f"(learning rate {self.state.rate:.3g}); those steps were not taken. Look for NaN, infinite or "
                "huge values in the data and for logarithms or divisions of 0 in the loss, or lower learning_rate"
            )
        if skipped > self.skips_told:
            self.progress.message(f"{skipped} of {self.state.step} steps skipped: loss or gradient was not finite")
            self.skips_told = skipped

    def _finish(self, stopped: StopReason) -> None:
        config, complete = self.config, stopped != "interrupted"
        self.last_loss = self.tally.mean_loss() if self.tally.counts().steps else self._last_loss()
        if complete:
            self._check_finite()
        if complete and self.validate is not None and self.state.validated != self.state.step:
            self._validate()
        if complete and self.validate is not None and self.weights.best is None:
            raise LSTMKitError(
                f"no validation gave a finite score (the last one: {self.state.validations[-1].score}), so no weights "
                "can be called the best; look for NaN in the validation data, or lower learning_rate"
            )
        if not complete and config.checkpoint is not None and not self.updating:
            self._save()
        self.weights.finish()
        self.progress.show(self._status(1.0 if complete else None))
        if complete and config.checkpoint is not None:
            self.machine.by_main(partial(os.unlink, config.checkpoint))

    def _result(self, stopped: StopReason) -> TrainingResult:
        state = self.state
        return TrainingResult(
            stopped=stopped,
            steps=state.step,
            epochs=state.epoch + (state.batch >= self.steps_per_epoch),
            best_score=state.best_score,
            best_step=state.step if state.best_score is None else state.best_step,
            loss=self.last_loss,
            skipped_steps=self.tally.counts().skipped,
            seconds=self._seconds(),
            resumed_from=self.resumed_from,
            validations=tuple(state.validations),
        )

    def _last_loss(self) -> float:
        return self.state.validations[-1].loss if self.state.validations else float("nan")

    def _status(self, fraction: float | None = None) -> Status:
        state, seconds = self.state, self._seconds()
        fraction = fraction or run_fraction(state.step, self.total_steps, seconds, self.config.time_limit)
        speed = (state.step - self.first_step) / max(seconds - self.seconds_before, 1e-9)
        return Status(
            step=state.step,
            total_steps=self.total_steps,
            epoch=max(state.epoch + (state.batch > 0), 1),
            fraction=fraction,
            loss=self.tally.mean_loss() if self.tally.counts().steps else self._last_loss(),
            score=state.validations[-1].score if state.validations else None,
            best_score=state.best_score,
            steps_per_second=speed,
            seconds_left=self._seconds_left(speed, seconds),
        )

    def _seconds_left(self, speed: float, seconds: float) -> float | None:
        limits: list[float] = []
        if self.total_steps and speed:
            limits.append((self.total_steps - self.state.step) / speed)
        if self.config.time_limit:
            limits.append(max(60 * self.config.time_limit - seconds, 0.0))
        return min(limits) if limits else None

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.began

    def _count_steps(self) -> int:
        """Steps of an epoch, without leaving a trace in the random states."""
        before = randomness.capture()
        try:
            batches = len(self.train_batches(0))
        except TypeError:
            raise OptionError("train_batches(epoch) must return something that has a length, such as a list") from None
        randomness.restore(*before)
        if batches < 1:
            raise DataError("there is nothing to train on: an epoch has no batches")
        return batches

    def _total_steps(self) -> int | None:
        by_epochs = self.config.max_epochs and self.config.max_epochs * self.steps_per_epoch
        limits = [limit for limit in (self.config.max_steps, by_epochs) if limit]
        return min(limits) if limits else None

    def _fingerprint(self) -> dict[str, Any]:
        """What a resumed run must share with this one."""
        return self.config.fingerprint() | {"steps_per_epoch": self.steps_per_epoch, "identity": self.identity}

    def _checkpoint_due(self) -> bool:
        if self.config.checkpoint is None:
            return False
        if self.config.checkpoint_every:
            return self.state.step % self.config.checkpoint_every == 0
        return self.clock - self.saved >= _CHECKPOINT_SECONDS

    def _resume(self) -> int | None:
        """Go on from the checkpoint if there is one; else write one, so that a bad path shows now."""
        path = self.config.checkpoint
        if path is None:
            return None
        found = self.machine.by_main(lambda: load_checkpoint(path))
        if found is None:
            self._save()
            return None
        check_same_run(path, found.document.get("run", {}), self._fingerprint())
        check_same_module(path, found.sections.get("module", {}), self.weights.tensors())
        try:
            self._put_back(found)
        except (LookupError, TypeError, ValueError, RuntimeError):
            raise damaged(path) from None
        self.progress.message(f"resuming at step {self.state.step} from {os.fspath(path)}")
        return self.state.step

    def _save(self) -> None:
        self.machine.group.join_states(self.module)
        self.machine.by_main(self._write_checkpoint)
        self.saved = self.clock

    def _write_checkpoint(self) -> None:
        assert self.config.checkpoint is not None
        self.state.seconds = self._seconds()
        now, opened = self.resume_random or randomness.capture(), self.epoch_random
        sections = self.weights.sections() | {
            "optimizer": self.machine.optimizer_tensors(),
            "random": now[0],
            "epoch_random": opened[0],
        }
        document = {
            "run": self._fingerprint(),
            "state": self.state.to_document(),
            "tally": self.tally.to_document(),
            "scaler": self.machine.scaler_numbers(),
            "random": now[1],
            "epoch_random": opened[1],
        }
        save_checkpoint(self.config.checkpoint, Checkpoint(sections, document))

    def _put_back(self, checkpoint: Checkpoint) -> None:
        """The inverse of :meth:`_write_checkpoint`."""
        sections, document = checkpoint.sections, checkpoint.document
        self.state = RunState.from_document(document["state"])
        self.weights.load(sections)
        self.machine.load(sections.get("optimizer", {}), document["scaler"])
        self.tally.load(document["tally"])
        self.epoch_random = sections["epoch_random"], document["epoch_random"]
        self.resume_random = sections["random"], document["random"]


def _as_score(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise OptionError(f"validate must return a number, not {type(value).__name__!r}") from None
