"""From examples to a trained model: several readers, each judged by the examples that it was not shown.

Every example is held back from one reader, so all of them are learned from, and the weights of the opinions, the
scores and the end of the training still rest on examples that were not seen.

Legend: ``N`` examples.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstmkit.data import length_batches
from lstmkit.nn.stages import StagedModel
from lstmkit.runtime import ClassifyModel
from lstmkit.tasks.classification.assembling import assemble
from lstmkit.tasks.classification.judging import Judge
from lstmkit.tasks.classification.model import classifier_stages, start_weights
from lstmkit.tasks.classification.recipe import Members, Recipe, Task
from lstmkit.training import TrainingConfig, fit

Array = NDArray[Any]


def fit_model(recipe: Recipe, task: Task, judged: Task | None) -> ClassifyModel:
    """Train a classifier.

    Args:
        recipe: What to do.
        task: Examples to learn from.
        judged: Examples to judge all readers by and never to learn from; None: each by its own fold.
    """
    module = _build(recipe)
    judge = Judge(recipe, task, judged)
    result = fit(
        module,
        Batches(recipe, task),
        loss=_loss(recipe),
        config=recipe.training,
        # The letters of the different words, which rows share.
        whole=("pieces",),
        validate=judge,
        identity=_identity(recipe, task, judged),
    )
    return assemble(recipe, module, task, judge, result)


def _build(recipe: Recipe) -> Members:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        stages = classifier_stages(recipe.reader, recipe.sizes, len(recipe.labels))
        members = [StagedModel(stages) for _ in range(recipe.members)]
        for member in members:
            start_weights(member)
    return Members(members)


class Batches:
    """The batches of an epoch, of like length, drawn anew each time."""

    def __init__(self, recipe: Recipe, task: Task) -> None:
        self.recipe, self.task = recipe, task

    def __call__(self, epoch: int) -> "_Epoch":
        """One pass over the examples."""
        return _Epoch(self, length_batches(self.task.lengths, self.recipe.batch_size, shuffle=True))


@dataclass(frozen=True)
class _Epoch:
    batches: Batches
    indices: list[Array]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Any:
        recipe, task = self.batches.recipe, self.batches.task
        for index in self.indices:
            inputs = recipe.reader.arrays([task.rows[k] for k in index], grams=False)
            _disturb(inputs, recipe)
            yield {"inputs": inputs, "labels": task.labels[index], "folds": task.folds[index]}


def _disturb(inputs: dict[str, Array], recipe: Recipe) -> None:
    """Words that are not known, with letters that are; values that are not exact."""
    if recipe.unknown and "tokens" in inputs:
        inputs["tokens"][np.random.random(inputs["tokens"].shape) < recipe.unknown] = 0
    if recipe.noise and "values" in inputs:
        inputs["values"] += np.random.normal(0, recipe.noise, inputs["values"].shape).astype(np.float32)


def _loss(recipe: Recipe) -> Callable[[nn.Module, Any], list[tuple[Tensor, Tensor]]]:
    weights = torch.tensor(recipe.class_weights, dtype=torch.float32)

    def loss(module: nn.Module, batch: Any) -> list[tuple[Tensor, Tensor]]:
        """The readers' cross entropies over the examples that are not held back from each, and their numbers."""
        labels, means = batch["labels"], list[tuple[Tensor, Tensor]]()
        for number, scores in enumerate(module(batch["inputs"])):
            each = nn.functional.cross_entropy(
                scores, labels, weights.to(scores), reduction="none", label_smoothing=recipe.label_smoothing
            )
            shown = batch["folds"] != number
            means.append(((each * shown).sum() / recipe.members, shown.sum()))
        return means

    return loss


def _identity(recipe: Recipe, task: Task, judged: Task | None) -> str:
    """Names data, network and training, so that a checkpoint is never continued on others."""
    if recipe.training.checkpoint is None:
        return ""
    options = [vars(recipe.sizes), recipe.members, recipe.batch_size, recipe.label_smoothing, recipe.unknown]
    options += [recipe.noise, recipe.class_weights.tolist(), recipe.labels.to_list(), recipe.reader.to_dict()]
    name = hashlib.sha256(json.dumps(options).encode())
    for source in (task, judged) if judged else (task,):
        name.update(source.labels.tobytes() + source.folds.tobytes())
        for row in source.rows:
            name.update(row.tobytes() if isinstance(row, np.ndarray) else repr(row[:2]).encode())
    return name.hexdigest()


def spread_folds(labels: Array, members: int, seed: int) -> Array:
    """Which reader each example is held back from, with the labels spread evenly; of a single reader a tenth."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % (members if members > 1 else 10)
    return folds if members > 1 else np.where(folds == 0, 0, -1)


def with_end(training: TrainingConfig, steps_per_epoch: int, least: int) -> TrainingConfig:
    """At least so many steps for an epoch where there are few examples, and about twenty validations at most."""
    steps = (training.max_epochs or 1) * max(steps_per_epoch, least)
    every = max(steps_per_epoch, steps // 20)
    return replace(training, max_epochs=None, max_steps=steps, validate_every=every)
