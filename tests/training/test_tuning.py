"""The search, on trainings of which everything is known: the score is the options' own."""

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lstmkit.spec import DataError, LSTMKitError, OptionError
from lstmkit.training import Choice, Range, TrainingConfig, fit, search

SPACE = {"a": Choice(1, 2, 3), "b": Range(0.0, 1.0)}


def train_with(scores, max_epochs=1, **options):
    """A training whose validations give these scores, one after the other."""
    told = iter(scores)
    data = [torch.ones(2, 1)]
    module = nn.Linear(1, 1)
    config = TrainingConfig(max_epochs=max_epochs, quiet=True, device="cpu", **options)
    result = fit(module, lambda epoch: data, loss=lambda m, x: m(x).sum(), config=config, validate=lambda m: next(told))
    return SimpleNamespace(interrupted=result.interrupted, scores=result.validations)


def height(options) -> float:
    return abs(options["a"] - 2) + (options["b"] - 0.5) ** 2


class Recorder:
    """Trains, and remembers what it was asked."""

    def __init__(self, score=height) -> None:
        self.asked, self.minutes, self.score = [], [], score

    def __call__(self, options, minutes):
        self.asked.append(options)
        self.minutes.append(minutes)
        model = train_with([self.score(options)])
        model.options = options
        return model


def test_search__matches_the_least_of_what_was_tried() -> None:
    train = Recorder()
    result = search(train, SPACE, trials=12, start={"a": 3, "b": 1.0})
    assert train.asked[0] == {"a": 3, "b": 1.0}
    least = min(train.asked, key=height)
    assert result.best.options == least == result.model.options
    assert result.best.score == pytest.approx(height(least))
    assert [trial.options for trial in result.trials] == train.asked
    assert train.minutes == [None] * 12
    assert {options["a"] for options in train.asked} == {1, 2, 3}
    assert all(0 <= options["b"] <= 1 for options in train.asked)
    assert not result.interrupted


def test_search__equals_itself__same_seed() -> None:
    first, second, third = Recorder(), Recorder(), Recorder()
    for train, seed in ((first, 1), (second, 1), (third, 2)):
        search(train, SPACE, trials=4, seed=seed)
    assert first.asked == second.asked != third.asked


@pytest.mark.parametrize(
    ("values", "kind", "among"),
    [(Range(2, 9), int, range(2, 10)), (Choice(None, "x", True), object, (None, "x", True))],
)
def test_search__never_leaves_the_space(values, kind, among) -> None:
    train = Recorder(lambda options: 0.0)
    search(train, {"n": values, "rate": Range(1e-4, 1e-2, log=True)}, trials=20)
    assert all(isinstance(options["n"], kind) and options["n"] in among for options in train.asked)
    assert sum(options["rate"] < 1e-3 for options in train.asked) >= 5  # of a plain range, a tenth


def test_search__resumes_from_its_storage(tmp_path) -> None:
    storage = str(tmp_path / "study.db")
    first, second = Recorder(), Recorder()
    before = search(first, SPACE, trials=3, storage=storage, start={"a": 2, "b": 0.5})
    after = search(second, SPACE, trials=2, storage=storage, start={"a": 2, "b": 0.5})
    assert [trial.options for trial in after.trials] == first.asked + second.asked
    assert after.trials[:3] == before.trials
    assert second.asked[0] != {"a": 2, "b": 0.5}
    assert (after.best.number, after.best.score) == (0, 0.0)


def test_shelf__never_takes_a_worse_model(tmp_path) -> None:
    class Shelf:
        place = "here"

        def __init__(self) -> None:
            self.records = []

        def score(self, study):
            return next((r["score"] for r in reversed(self.records) if r["study"] == study), None)

        def put(self, model, record) -> None:
            self.records.append(dict(record))

    shelf, storage = Shelf(), str(tmp_path / "study.db")
    for trials in (5, 4):
        result = search(Recorder(), SPACE, trials=trials, storage=storage, shelf=shelf)
    scores = [record["score"] for record in shelf.records]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == result.best.score == min(trial.score for trial in result.trials)
    assert shelf.records[-1]["options"] == result.best.options
    assert shelf.records[-1]["trial"] == result.best.number
    assert result.model is None
    other = search(Recorder(lambda options: 99.0), SPACE, trials=1, shelf=shelf)
    assert shelf.records[-1]["score"] == other.best.score == 99.0  # what lies there is of another study


def test_study__rejects_other_data_or_space(tmp_path) -> None:
    storage = str(tmp_path / "study.db")
    search(Recorder(), SPACE, trials=1, storage=storage, identity={"data": "a"})
    for space, identity in ((SPACE, {"data": "b"}), ({"a": Choice(1, 2)}, {"data": "a"})):
        with pytest.raises(OptionError, match="give another name for the study"):
            search(Recorder(), space, trials=1, storage=storage, identity=identity)
    search(Recorder(), SPACE, trials=1, storage=storage, identity={"data": "b"}, study="another")


def test_trial__prunes_what_others_beat() -> None:
    epochs, ran = 6, []

    def train(options, minutes):
        level = 1.0 if len(ran) < 5 else 5.0
        ran.append(0)

        def scores():
            for epoch in range(epochs):
                ran[-1] += 1
                yield level - 0.1 * epoch

        return train_with(scores(), max_epochs=epochs)

    result = search(train, SPACE, trials=6)
    assert ran[:5] == [epochs] * 5
    assert ran[5] < epochs
    assert [trial.state for trial in result.trials] == ["complete"] * 5 + ["pruned"]
    assert result.trials[5].score == pytest.approx(5 - 0.1 * (ran[5] - 1))


def test_search__goes_on_after_a_failure__but_not_after_a_first() -> None:
    calls = []

    def train(options, minutes):
        calls.append(options)
        if len(calls) in failing:
            raise DataError("nothing to learn from")
        return train_with([1.0])

    failing = (2,)
    messages: list[str] = []
    result = search(train, SPACE, trials=3, message=messages.append)
    assert [trial.state for trial in result.trials] == ["complete", "failed", "complete"]
    assert "trial 1 failed: nothing to learn from" in messages
    calls.clear()
    failing = (1,)
    with pytest.raises(DataError):
        search(train, SPACE, trials=3)
    assert len(calls) == 1


def test_failing_trial__never_hides_a_defect() -> None:
    def train(options, minutes):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(train, SPACE, trials=3)


@pytest.mark.parametrize(("second", "state"), [(0.5, "complete"), (2.0, "interrupted")])
def test_interrupt__preserves_the_best(second, state) -> None:
    calls = []

    def train(options, minutes):
        calls.append(options)
        if len(calls) == 1:
            return train_with([1.0])

        def scores():
            yield second
            os.kill(os.getpid(), signal.SIGINT)
            yield second + 1

        return train_with(scores(), max_epochs=9)

    result = search(train, SPACE, trials=5)
    assert result.interrupted
    assert [trial.state for trial in result.trials] == ["complete", state]
    assert result.best.score == min(1.0, second)
    assert result.model.scores[0].score == result.best.score


def test_interrupt_between_trainings__preserves_the_best() -> None:
    calls = []

    def train(options, minutes):
        calls.append(options)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train_with([1.0])

    result = search(train, SPACE, trials=5)
    assert (result.interrupted, result.best.score, len(result.trials)) == (True, 1.0, 2)


def test_time_limit__never_begins_what_cannot_end(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("lstmkit.training.tuning.time", SimpleNamespace(monotonic=lambda: now[0]))
    lefts = []

    def train(options, minutes):
        lefts.append(minutes)
        now[0] += 60 * 4
        return train_with([1.0])

    search(train, SPACE, time_limit=10)
    assert lefts == [10, 6, 2]
    lefts.clear()
    search(train, SPACE, time_limit=9.9)
    assert lefts == [9.9, pytest.approx(5.9)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a search needs an end"),
        ({"trials": 0}, "trials must be"),
        ({"time_limit": -1}, "time_limit must be"),
        ({"time_limit": float("nan")}, "time_limit must be"),
        ({"trials": 1, "space": {}}, "nothing to search"),
    ],
)
def test_search__rejects_wrong_options(options, message) -> None:
    with pytest.raises(OptionError, match=message):
        search(Recorder(), **{"space": SPACE, **options})


def test_search__rejects_a_training_without_validation() -> None:
    with pytest.raises(OptionError, match="hold back some data"):
        search(lambda options, minutes: None, SPACE, trials=1)


def test_search__rejects_several_processes(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match="start it several times with the same storage"):
        search(Recorder(), SPACE, trials=1)


@pytest.mark.parametrize("values", [(1, 1), (2, 1), (0, float("inf"))])
def test_range__rejects_nothing_between(values) -> None:
    with pytest.raises(OptionError, match="from a number to a greater one"):
        Range(*values)


def test_range_and_choice__reject_what_cannot_be() -> None:
    with pytest.raises(OptionError, match="begins above 0"):
        Range(0, 1, log=True)
    with pytest.raises(OptionError, match="needs values"):
        Choice()


@pytest.mark.parametrize("storage", ["no/such/folder/study.db", "mysql://me:secret@host/x", "what://is/this"])
def test_storage__rejects_what_cannot_be_opened__without_its_password(storage) -> None:
    with pytest.raises(LSTMKitError, match="cannot open the storage") as caught:
        search(Recorder(), SPACE, trials=1, storage=storage)
    assert "secret" not in str(caught.value)


def test_storage__rejects_a_file_that_is_none(tmp_path) -> None:
    (tmp_path / "study.db").write_text("a text that is no database, long enough to have a header" * 9)
    with pytest.raises(LSTMKitError, match="cannot open the storage"):
        search(Recorder(), SPACE, trials=1, storage=str(tmp_path / "study.db"))


SHARED = """
import json, sys, torch
from torch import nn
from lstmkit.training import Range, TrainingConfig, fit, search
def train(options, minutes):
    config = TrainingConfig(max_epochs=1, quiet=True, device="cpu")
    fit(nn.Linear(1, 1), lambda e: [torch.ones(2, 1)], loss=lambda m, x: m(x).sum(), config=config,
        validate=lambda m: options["b"])
result = search(train, {"b": Range(0.0, 1.0)}, start={"b": 0.5}, trials=2, storage=sys.argv[1])
"""


def test_two_searches__share_a_storage(tmp_path) -> None:
    storage = str(tmp_path / "study.db")
    search(Recorder(lambda options: options["b"]), {"b": Range(0.0, 1.0)}, start={"b": 0.5}, trials=1, storage=storage)
    searches = [subprocess.Popen([sys.executable, "-c", SHARED, storage]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in searches] == [0, 0]
    result = search(Recorder(lambda options: 2.0), {"b": Range(0.0, 1.0)}, trials=1, storage=storage)
    assert [trial.number for trial in result.trials] == list(range(6))
    tried = [trial.options["b"] for trial in result.trials]
    assert len(set(tried)) == 6
    assert result.best.score == min(tried[:5])
    json.dumps([trial.options for trial in result.trials])
