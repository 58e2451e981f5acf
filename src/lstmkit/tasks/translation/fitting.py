"""From pairs of texts to a trained model."""

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch

from lstmkit.data import Pairs
from lstmkit.nn.stages import StagedModel
from lstmkit.runtime import TranslateModel
from lstmkit.runtime.translate_encoders import Encoders, Numbered
from lstmkit.tasks.translation.learning import Batches, Judge, number_pairs, token_loss
from lstmkit.tasks.translation.levels import PIECES, Levels
from lstmkit.tasks.translation.model import Sizes, start_weights, translation_stages
from lstmkit.training import TrainingConfig, fit

_VALIDATIONS = 20


@dataclass(frozen=True)
class Recipe:
    """What is to be trained, and how.

    Args:
        levels: How texts are cut into tokens.
        sizes: The network.
        training: The loop's options; ``max_steps`` is the whole budget.
        batch_size: Pairs of a batch.
        label_smoothing: Part of the target that is spread over all tokens.
        consistency: How much it counts that two readings with other values dropped agree.
    """

    levels: Levels
    sizes: Sizes
    training: TrainingConfig
    batch_size: int
    label_smoothing: float
    consistency: float


def fit_model(recipe: Recipe, training: Pairs, judged: Pairs | None) -> TranslateModel:
    """Train a translator; with pairs held back, the weights are the best ones on these.

    A checkpoint brings a killed training back to where it was. After Ctrl-C the model is the best one so far.
    """
    encoders = recipe.levels.learn(training.sources, training.targets)
    names = recipe.levels.names(encoders)
    numbered = number_pairs(encoders, training)
    module = _build(recipe, encoders)
    judge = judged and Judge(
        number_pairs(encoders, judged),
        recipe.label_smoothing,
        exact=names[1] not in PIECES,
    )
    steps = recipe.training.max_steps or 1
    result = fit(
        module,
        Batches(numbered, recipe.batch_size),
        loss=lambda network, batch: token_loss(network, batch, recipe.label_smoothing, recipe.consistency),
        config=replace(
            recipe.training,
            validate_every=max(1, steps // _VALIDATIONS) if judge else None,
            patience=recipe.training.patience if judge else None,
        ),
        validate=judge or None,
        identity=_identity(recipe, numbered),
        title="training",
    )
    stages = [stage.to_dict() for stage in module.stages]
    document = {
        "task": "translate",
        "stages": stages,
        "tokenizers": encoders.to_list(),
        "translation": {"levels": names},
        "training": {"stopped": result.stopped},
    }
    return TranslateModel(document, module.arrays())


def _build(recipe: Recipe, encoders: Encoders) -> StagedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        module = StagedModel(translation_stages(recipe.sizes, len(encoders.source), len(encoders.target)))
        start_weights(module)
    return module


def _identity(recipe: Recipe, numbered: Numbered) -> str:
    """Names data, network and training, so that a checkpoint is never continued on others."""
    if recipe.training.checkpoint is None:
        return ""
    options = [
        vars(recipe.sizes),
        recipe.training.fingerprint(),
        recipe.batch_size,
        recipe.label_smoothing,
        recipe.consistency,
    ]
    name = hashlib.sha256(json.dumps(options).encode())
    for row in chain(*numbered):
        name.update(np.asarray(row, np.int32).tobytes())
    return name.hexdigest()
