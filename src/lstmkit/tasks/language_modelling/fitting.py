"""The course of a training: network, batches, judge, and the model that comes out. Needs torch."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from lstmkit.runtime import LMModel
from lstmkit.runtime.lm_text import LanguageText
from lstmkit.tasks.language_modelling.network import LanguageNetwork, language_stages
from lstmkit.tasks.language_modelling.recipes import Recipe
from lstmkit.tasks.language_modelling.streams import Streams
from lstmkit.training import TrainingConfig, TrainingResult, fit

# The judge reads in more streams than the training, whose starts nothing is known before.
_JUDGED_STREAMS, _JUDGED_STEPS = 16, 128


def train(
    recipe: Recipe,
    text: LanguageText,
    tokens: Any,
    judged: Any,
    *,
    cutoffs: list[int] | None,
    training: dict[str, Any],
) -> tuple[LanguageNetwork, TrainingResult]:
    """Train a network.

    Args:
        recipe: What to train, and how.
        text: How the tokens were made.
        tokens: ``(N,)``, to learn from.
        judged: ``(M,)``, to choose the best weights by.
        cutoffs: Of an adaptive softmax, or None.
        training: Options of :class:`TrainingConfig`; None leaves one to the recipe.
    """
    streams = Streams.of(tokens, recipe.streams, recipe.steps)
    config = _config(recipe, training, len(streams))
    network = build(recipe, len(text.encoder), cutoffs, streams.streams, config.seed)
    result = fit(
        network,
        streams,
        loss=lambda module, batch: module(batch),
        config=config,
        validate=Judge(judged),
        identity=_identity(recipe, cutoffs, text, tokens, judged),
    )
    return network, result


def build(recipe: Recipe, tokens: int, cutoffs: list[int] | None, streams: int, seed: int) -> LanguageNetwork:
    """A network with its first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LanguageNetwork(language_stages(recipe, tokens, cutoffs), streams)
        network.start(recipe.start)
    return network


def as_model(network: LanguageNetwork, document: dict[str, Any]) -> LMModel:
    """What runs without torch."""
    stages = [stage.to_dict() for stage in network.model.stages]
    return LMModel({**document, "task": "lm", "stages": stages}, network.model.arrays())


class Judge:
    """Mean loss of a text that is not trained on, read in several streams at once.

    Args:
        tokens: ``(M,)``.
    """

    def __init__(self, tokens: Any) -> None:
        self._streams = Streams.of(tokens, _JUDGED_STREAMS, _JUDGED_STEPS)

    def __call__(self, module: nn.Module) -> float:
        """Nats per token."""
        network: Any = module
        rows, steps = self._streams.rows, self._streams.steps
        state = tuple(state.new_zeros(len(state), len(rows), state.shape[2]) for state in (network.h, network.c))
        total = count = 0
        for start in range(0, rows.shape[1] - 1, steps):
            stretch = rows[:, start : start + steps + 1].astype(np.int64)
            loss, state = network.loss(torch.from_numpy(stretch).to(network.h.device), state)
            total += float(loss) * (stretch.shape[1] - 1)
            count += stretch.shape[1] - 1
        return total / count


def _config(recipe: Recipe, training: dict[str, Any], steps_per_epoch: int) -> TrainingConfig:
    """What was given, on top of the recipe; a training that is given its steps has passes for all of them."""
    given = {name: value for name, value in training.items() if value is not None}
    wanted = given.get("max_steps", recipe.least_steps)
    passes = -(-wanted // steps_per_epoch)
    given.setdefault("max_epochs", passes if "max_steps" in given else max(recipe.epochs, passes))
    return TrainingConfig(**{**recipe.training, **given})


def _identity(recipe: Recipe, cutoffs: list[int] | None, text: LanguageText, tokens: Any, judged: Any) -> str:
    """Names text, network and training, so that a checkpoint is never continued on others."""
    name = hashlib.sha256(json.dumps([asdict(recipe), cutoffs, text.to_dict()]).encode())
    for row in (tokens, judged):
        for start in range(0, len(row), 2**20):
            name.update(np.ascontiguousarray(row[start : start + 2**20]).data)
    return name.hexdigest()
