"""The border to Optuna: what may be tried, what was tried, and what to try next."""

import json
import logging
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from lstmkit.spec.errors import LSTMKitError, OptionError
from lstmkit.spec.extras import import_extra

State: TypeAlias = Literal["complete", "pruned", "failed", "interrupted", "running"]
# Before so many trials, and in the first validations of one, nothing is known that a trial could be measured by.
_UNPRUNED_TRIALS, _UNPRUNED_VALIDATIONS = 4, 2


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones if both are.

    Args:
        low: The least.
        high: The greatest.
        log: Whether factors count rather than differences, as for a learning rate.

    Raises:
        OptionError: there is nothing between them.

    Example:
        >>> Range(1e-4, 1e-2, log=True)
        Range(low=0.0001, high=0.01, log=True)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise OptionError(f"a range goes from a number to a greater one, not from {self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise OptionError(f"a range of factors begins above 0, not at {self.low}")


@dataclass(frozen=True)
class Choice:
    """One of several values: numbers, texts, True, False or None.

    Raises:
        OptionError: there are none.

    Example:
        >>> Choice(64, 128, 256)
        Choice(values=(64, 128, 256))
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)
        if not values:
            raise OptionError("a choice needs values to choose from")


Space: TypeAlias = Mapping[str, Range | Choice]


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Args:
        number: In the study, from 0.
        options: What was tried.
        state: ``"pruned"`` where it was given up because others were better after as many validations.
        score: The best validation score, lower is better; None if there was none.
        seconds: How long it took.
        place: Where its model was to be kept.
    """

    number: int
    options: dict[str, Any]
    state: State
    score: float | None
    seconds: float
    place: str


class Study:
    """Trials in memory, or in a storage that outlives the process and that several machines may share.

    Args:
        space: What may be tried.
        name: Of the study in the storage.
        storage: A file, or a URL as SQLAlchemy has them; None keeps the trials in memory.
        seed: Of the suggestions; with a storage they depend on what others do besides.
        identity: What trials must share to be compared, as JSON can hold it.

    Raises:
        OptionError: the study of this name is about something else.
        LSTMKitError: the storage cannot be opened.
    """

    def __init__(self, space: Space, *, name: str, storage: str | None, seed: int, identity: Mapping[str, Any]) -> None:
        self._optuna = import_extra("optuna", "tune")
        self._optuna.logging.set_verbosity(logging.ERROR)
        self._distributions = {name: self._distribution(values) for name, values in space.items()}
        self._study = self._open(name, storage, seed)
        self._check_identity(name, {"identity": dict(identity)} | {"space": {n: asdict(v) for n, v in space.items()}})
        self.key = f"{name} {self._study.user_attrs['key']}"

    def _distribution(self, values: Range | Choice) -> Any:
        kinds = self._optuna.distributions
        if isinstance(values, Choice):
            return kinds.CategoricalDistribution(values.values)
        whole = isinstance(values.low, int) and isinstance(values.high, int)
        kind = kinds.IntDistribution if whole else kinds.FloatDistribution
        return kind(values.low, values.high, log=values.log)

    def _open(self, name: str, storage: str | None, seed: int) -> Any:
        # Searches that share a storage must not all draw the same.
        sampler = self._optuna.samplers.TPESampler(seed=seed if storage is None else None)
        pruner = self._optuna.pruners.MedianPruner(_UNPRUNED_TRIALS, _UNPRUNED_VALIDATIONS)
        url = storage if storage is None or "://" in storage else f"sqlite:///{storage}"
        try:
            return self._optuna.create_study(
                study_name=name, storage=url, sampler=sampler, pruner=pruner, load_if_exists=True
            )
        except Exception as error:  # whatever a driver of a database raises
            shown = str(storage).rpartition("@")[2]  # without a password
            reason = str(error).partition("\n")[0]
            raise LSTMKitError(
                f"cannot open the storage {shown}: {reason}; give a file, or a URL such as sqlite:///study.db"
            ) from None

    def _check_identity(self, name: str, wanted: dict[str, Any]) -> None:
        text = json.dumps(wanted, sort_keys=True, default=str)
        found = self._study.user_attrs.get("lstmkit")
        if found is None and not self._study.trials:
            self._study.set_user_attr("key", secrets.token_hex(8))
            self._study.set_user_attr("lstmkit", text)
        elif found != text:
            raise OptionError(
                f"the study {name!r} in this storage is about other data, other options or another search, so its "
                "scores cannot be compared with those to come; give another name for the study"
            )

    def enqueue(self, options: Mapping[str, Any]) -> None:
        """Try these next, unless they have been."""
        self._study.enqueue_trial(dict(options), skip_if_exists=True)

    def ask(self, place: str) -> "Suggestion":
        """What to try next."""
        trial = self._study.ask(self._distributions)
        trial.set_user_attr("place", place)
        return Suggestion(trial)

    def tell(self, suggestion: "Suggestion", state: State, score: float | None = None) -> None:
        """How a trial ended."""
        states = self._optuna.trial.TrialState
        kind = {"complete": states.COMPLETE, "pruned": states.PRUNED}.get(state, states.FAIL)
        suggestion.trial.set_user_attr("state", state)
        self._study.tell(suggestion.trial, score if state == "complete" else None, state=kind)

    def trials(self) -> tuple[Trial, ...]:
        """All trials that were begun, in order."""
        return tuple(_as_trial(found) for found in self._study.trials if found.state.name != "WAITING")


class Suggestion:
    """Options to be tried, and what is heard of the trial."""

    def __init__(self, trial: Any) -> None:
        self.trial = trial
        self.number: int = trial.number
        self.options: dict[str, Any] = dict(trial.params)
        self.scores: list[float] = []

    def note(self, score: float) -> bool:
        """Take in a validation; whether the trial can be given up."""
        self.scores.append(score)
        self.trial.report(score, len(self.scores))
        return self.trial.should_prune()

    @property
    def score(self) -> float | None:
        """The best score so far; None if there is none that is finite."""
        return min((score for score in self.scores if math.isfinite(score)), default=None)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial of the lowest score."""
    return min((trial for trial in trials if trial.state == "complete"), key=lambda trial: trial.score, default=None)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _as_trial(found: Any) -> Trial:
    states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running"}
    state: State = states.get(found.state.name) or found.user_attrs.get("state", "failed")
    scores = [score for score in found.intermediate_values.values() if math.isfinite(score)]
    return Trial(
        number=found.number,
        options=dict(found.params),
        state=state,
        score=found.value if state == "complete" else min(scores, default=None),
        seconds=found.duration.total_seconds() if found.duration else 0.0,
        place=str(found.user_attrs.get("place", "")),
    )
