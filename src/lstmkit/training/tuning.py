"""The search for good options: many trainings, each chosen by the scores of those before.

Source: tree-structured Parzen estimators, Bergstra et al., NeurIPS 2011; as Optuna has them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from lstmkit.spec import LSTMKitError, OptionError, process_count
from lstmkit.training.result import Validation
from lstmkit.training.study import Space, Study, Suggestion, Trial, best_of
from lstmkit.training.watch import watching

Train: TypeAlias = Callable[[dict[str, Any], float | None], Any]
# A trial is not begun in less of the time that is left than this part of what one usually takes.
_LEAST_PART = 0.5


class _PrunedError(Exception):
    """Ends a training that others were better than."""


class Shelf(Protocol):
    """Where the best model goes."""

    place: str

    def score(self, study: str) -> float | None:
        """The score of the model that lies there now; None if there is none, or one that is not of this study."""
        ...

    def put(self, model: Any, record: Mapping[str, Any]) -> None:
        """Keep this model; the record names its ``study``, ``trial``, ``score`` and ``options``."""
        ...


class MemoryShelf:
    """Keeps the model that ``train`` returned."""

    place = ""

    def __init__(self) -> None:
        self.model: Any = None
        self._score: float | None = None

    def score(self, study: str) -> float | None:
        """The score of the best so far."""
        return self._score

    def put(self, model: Any, record: Mapping[str, Any]) -> None:
        """Keep it."""
        self.model, self._score = model, record["score"]


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Args:
        best: The best trial of the study, those of other searches in it included; None if none completed.
        trials: All of the study's, in order.
        model: What ``train`` returned for the best trial of this search; None where a shelf was given.
        interrupted: Whether Ctrl-C ended it.
        study: The key by which a shelf knows the study.
    """

    best: Trial | None
    trials: tuple[Trial, ...]
    model: Any
    interrupted: bool
    study: str


def search(
    train: Train,
    space: Space,
    *,
    start: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
    trials: int | None = None,
    storage: str | None = None,
    study: str = "lstmkit",
    seed: int = 0,
    identity: Mapping[str, Any] | None = None,
    shelf: Shelf | None = None,
    message: Callable[[str], None] = lambda text: None,
) -> SearchResult:
    """Train again and again, and keep the model with the best validation score.

    Args:
        train: ``train(options, minutes)`` trains with these options in at most so many minutes and gives a
            model; every validation of :func:`lstmkit.training.fit` inside it is heard, and the best one counts.
        space: What may be tried: option -> :class:`Range` or :class:`Choice`.
        start: The options of the first trial of the study, usually the defaults.
        time_limit: Minutes for all trials together.
        trials: How many trials, of this search.
        storage: A file or database URL that outlives the search: run it again to go on, or from several
            machines at once to share the work. None keeps nothing.
        study: Name of the study in the storage.
        seed: Of what is tried, where there is no storage.
        identity: What trials must share to be compared (data, fixed options).
        shelf: Where the best model goes; None keeps it in the result.
        message: Called with a sentence before and after each trial.

    Units:
        time_limit in minutes.

    Raises:
        OptionError: there is no end, nothing to search, no validation, or the study is about something else.
        LSTMKitError: the storage cannot be opened, or the first training fails.

    Example:
        >>> import torch
        >>> from lstmkit.training import Choice, TrainingConfig, fit
        >>> def train(options, minutes):
        ...     module, x = torch.nn.Linear(1, 1), torch.ones(4, 1)
        ...     loss = lambda module, batch: (module(batch) - 3).square().mean()
        ...     config = TrainingConfig(max_steps=20, quiet=True, device="cpu", **options)
        ...     fit(module, lambda epoch: [x], loss=loss, config=config, validate=lambda m: float(loss(m, x)))
        ...     return module
        >>> search(train, {"learning_rate": Choice(0.001, 0.1)}, start={"learning_rate": 0.001}, trials=4).best.options
        {'learning_rate': 0.1}
    """
    _check(space, time_limit, trials)
    memory = MemoryShelf()
    opened = Study(space, name=study, storage=storage, seed=seed, identity=identity or {})
    course = _Course(train, opened, shelf or memory, message)
    if start is not None:
        opened.enqueue(start)
    began, count = time.monotonic(), 0
    try:
        while not course.interrupted and count != trials:
            left = None if time_limit is None else time_limit - (time.monotonic() - began) / 60
            if left is not None and (left <= 0 or left < _LEAST_PART * course.usual_minutes()):
                break
            course.run(left)
            count += 1
    except KeyboardInterrupt:
        course.interrupted = True
    found = opened.trials()
    return SearchResult(best_of(found), found, memory.model, course.interrupted, opened.key)


def _check(space: Space, time_limit: float | None, trials: int | None) -> None:
    if not space:
        raise OptionError("there is nothing to search: every option that could be is fixed")
    if time_limit is None and trials is None:
        raise OptionError("a search needs an end: give time_limit or trials")
    if time_limit is not None and not time_limit > 0:
        raise OptionError(f"time_limit must be a number of minutes above 0, not {time_limit}")
    if trials is not None and trials < 1:
        raise OptionError(f"trials must be a whole number of at least 1, not {trials}")
    if process_count() > 1:
        raise OptionError(
            "a search trains in one process; to use several, start it several times with the same storage"
        )


class _Course:
    """The trials of one search, one after the other."""

    def __init__(self, train: Train, study: Study, shelf: Shelf, message: Callable[[str], None]) -> None:
        self.train, self.study, self.shelf, self.message = train, study, shelf, message
        self.interrupted = False
        self.minutes: list[float] = []

    def usual_minutes(self) -> float:
        """What a complete trial of this search has taken; 0 before the first."""
        return sum(self.minutes) / len(self.minutes) if self.minutes else 0.0

    def run(self, left: float | None) -> None:
        """One trial; what ends it early is written into the study before it is passed on."""
        trial, began = self.study.ask(self.shelf.place), time.monotonic()
        self.message(f"trial {trial.number}: {options_text(trial.options)}")
        try:
            model = self._train(trial, left)
        except _PrunedError:
            self.study.tell(trial, "pruned")
            self.message(f"trial {trial.number}: given up at {trial.score:.5g}; at this point others were better")
        except BaseException as error:
            self.study.tell(trial, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            if not isinstance(error, LSTMKitError) or best_of(self.study.trials()) is None:
                raise
            self.message(f"trial {trial.number} failed: {error}")
        else:
            self.minutes.append((time.monotonic() - began) / 60)
            self._judge(trial, model)

    def _train(self, trial: Suggestion, left: float | None) -> Any:
        def note(validation: Validation) -> None:
            if trial.note(validation.score):
                raise _PrunedError

        with watching(note):
            return self.train(dict(trial.options), left)

    def _judge(self, trial: Suggestion, model: Any) -> None:
        """Keep the model if it is better than the one that lies on the shelf."""
        self.interrupted, score = bool(getattr(model, "interrupted", False)), trial.score
        if score is None:
            self.study.tell(trial, "interrupted" if self.interrupted else "failed")
            if not self.interrupted:
                raise OptionError(
                    "a search compares validation scores, and this training has none: hold back some data to validate"
                )
            return
        held = self.shelf.score(self.study.key)
        better = held is None or score < held
        if better:
            record = {"study": self.study.key, "trial": trial.number, "score": score, "options": trial.options}
            self.shelf.put(model, record)
        # A training cut short says little about its options, unless it is the best all the same.
        self.study.tell(trial, "complete" if better or not self.interrupted else "interrupted", score)
        self.message(f"trial {trial.number}: {score:.5g}{', the best so far' if better else f' (best {held:.5g})'}")


def options_text(options: Mapping[str, Any]) -> str:
    """Options in one line.

    Example:
        >>> options_text({"dropout": 0.123456, "hidden_size": 64, "layers": None})
        'dropout 0.1235, hidden_size 64, layers default'
    """
    return ", ".join(f"{name} {option_text(value)}" for name, value in options.items())


def option_text(value: Any) -> str:
    """One value; None is what a training has by itself."""
    return "default" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
