import math

import pytest

from lstmkit.spec import OptionError
from lstmkit.training import TrainingConfig
from lstmkit.training.schedule import learning_rate, run_fraction


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs an end"),
        ({"max_steps": 0}, "max_steps must be a whole number of at least 1, not 0"),
        ({"max_steps": 2.0}, "max_steps must be a whole number"),
        ({"max_epochs": True}, "max_epochs must be a whole number"),
        ({"max_steps": 1, "learning_rate": 0}, "learning_rate must be a number above 0, not 0"),
        ({"max_steps": 1, "learning_rate": math.nan}, "learning_rate must be a number above 0, not nan"),
        ({"max_steps": 1, "learning_rate": "fast"}, "learning_rate must be a number above 0, not 'fast'"),
        ({"max_steps": 1, "warmup_fraction": 1.5}, "warmup_fraction must be a number at least 0 and at most 1"),
        ({"max_steps": 1, "averaging": 0.0}, "averaging must be a number above 0 and at most 1"),
        ({"max_steps": 1, "time_limit": -1}, "time_limit must be"),
        (
            {"max_steps": 1, "schedule": "linear"},
            "schedule must be one of 'constant', 'cosine', 'halving', 'one_cycle'",
        ),
        ({"max_steps": 1, "schedule": "halving"}, "the schedule 'halving' counts passes; give max_epochs"),
        ({"max_steps": 1, "hold_epochs": -1}, "hold_epochs must be a whole number of at least 0"),
        ({"max_steps": 1, "averaging": "always"}, "averaging must be a number above 0 and at most 1"),
        ({"max_steps": 1, "optimizer": "lion"}, "optimizer must be one of 'adamw', 'sgd'"),
        ({"max_steps": 1, "mixed_precision": "fp8"}, "mixed_precision must be one of"),
        ({"max_steps": 1, "seed": 2**32}, "seed must be below"),
        ({"max_steps": 1, "quiet": "yes"}, "quiet must be True or False"),
    ],
)
def test_config__rejects_impossible_values(options, message) -> None:
    with pytest.raises(OptionError, match=message):
        TrainingConfig(**options)


@pytest.mark.parametrize(
    ("schedule", "warm", "expected"),
    [
        ("constant", 0.0, {0.0: 2, 0.5: 2, 1.0: 2}),
        ("constant", 0.5, {0.0: 0, 0.25: 1, 0.5: 2, 1.0: 2}),
        ("cosine", 0.2, {0.1: 1, 0.2: 2, 0.6: 1, 1.0: 0}),
        ("one_cycle", 0.2, {0.0: 0.08, 0.1: 1.04, 0.2: 2, 0.6: 1.000004, 1.0: 8e-6}),
        ("cosine", 1.0, {0.5: 1, 1.0: 0}),
    ],
)
def test_learning_rate__matches_hand_computed(schedule, warm, expected) -> None:
    config = TrainingConfig(max_steps=1, learning_rate=2.0, schedule=schedule, warmup_fraction=warm)
    assert {at: learning_rate(config, at) for at in expected} == pytest.approx(expected)


def test_run_fraction__equals_steps__clock_not_binding() -> None:
    for step in range(101):
        assert run_fraction(step, 100, step * 0.55, 1.0) == step / 100


def test_run_fraction__matches_clock__clock_binding() -> None:
    fractions = [run_fraction(step, 1000, step * 0.6, 1.0) for step in range(101)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert run_fraction(7, None, 15.0, 1.0) == 0.25
    assert run_fraction(500, 100, 0.0, None) == 1.0


def test_halving__matches_the_recipe_of_zaremba() -> None:
    config = TrainingConfig(max_epochs=13, learning_rate=1.0, schedule="halving", hold_epochs=4, warmup_fraction=0.0)
    steps = 130
    rates = [learning_rate(config, (step + 0.5) / steps) for step in range(steps)]
    # ptb_word_lm.py of TensorFlow: lr_decay ** max(epoch + 1 - max_epoch, 0), epochs counted from 0.
    assert rates == [0.5 ** max(step // 10 + 1 - 4, 0) for step in range(steps)]
    assert learning_rate(config, 4 / 13) == 0.5
