"""From sentences to a trained tagger."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.data import Sentence
from lstmkit.features import tag_transitions
from lstmkit.nn.crf import FORBIDDEN, crf_loss
from lstmkit.nn.stages import StagedModel
from lstmkit.runtime import TagConfig, TagModel
from lstmkit.runtime.tag import LABEL_SCORES
from lstmkit.tasks.tagging.batches import Batches
from lstmkit.tasks.tagging.evaluation import evaluate_sentences
from lstmkit.tasks.tagging.model import Sizes, tag_stages
from lstmkit.tasks.tagging.network import TagNetwork
from lstmkit.training import TrainingConfig, fit

# Deviation of the first rows of words and characters.
_FIRST_ROWS = 0.1
_TRANSITIONS = ("transitions", "first", "last")
_ANSWERS = ("scores", LABEL_SCORES, "path", *(f"path.{name}" for name in _TRANSITIONS))


@dataclass(frozen=True)
class Recipe:
    """What is to be trained, and how.

    Args:
        config: What the tagger knows of words and tags.
        sizes: The network.
        training: The loop's options.
        batch_size: Sentences of a batch.
        language_modelling: How much it counts that words foretell each other.
    """

    config: TagConfig
    sizes: Sizes
    training: TrainingConfig
    batch_size: int
    language_modelling: float


def fit_model(recipe: Recipe, sentences: Sequence[Sentence], judged: Sequence[Sentence]) -> TagModel:
    """Train a tagger; the weights that tag ``judged`` best are kept."""
    config = recipe.config
    module = _build(recipe)
    model = module.model
    forbidden = _forbidden(config, sentences)
    batches = Batches(config, sentences, recipe.batch_size)

    def judge(network: nn.Module) -> float:
        return evaluate_sentences(_as_model(model, config, forbidden), judged).loss

    result = fit(
        module,
        batches,
        loss=lambda network, batch: tagging_loss(network, batches.tensors(batch), forbidden),
        config=recipe.training,
        validate=judge if judged else None,
        identity=_identity(recipe, sentences, judged),
    )
    tagger = _as_model(model, config, forbidden)
    tagger.document["training"] = {"stopped": result.stopped}
    return tagger


def tagging_loss(
    module: nn.Module, batch: Mapping[str, Tensor], forbidden: Sequence[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Nats and number of the words, and of the labels of sentences. What has no answer does not count.

    The nats of words that a network foretells are among those of the tags.
    """
    values = module(batch, only=_ANSWERS)
    lengths, tags = batch["lengths"], batch["tags"]
    if "path" in values:
        moves = [
            values[f"path.{name}"] + never.to(tags.device) for name, never in zip(_TRANSITIONS, forbidden, strict=True)
        ]
        missed = crf_loss(values["path"], tags, moves[0], moves[1], moves[2], lengths).sum()
    else:
        real = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]
        missed = nn.functional.cross_entropy(values["scores"][real], tags[real], reduction="sum")
    means = [(missed + values.get("foretold", 0), lengths.sum())]
    if "labels" in batch:
        missed = nn.functional.cross_entropy(values[LABEL_SCORES], batch["labels"], ignore_index=-1, reduction="sum")
        means.append((missed, (batch["labels"] >= 0).sum()))
    return means


def _build(recipe: Recipe) -> TagNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        module = StagedModel(tag_stages(recipe.config, recipe.sizes))
        for stage in module.stages:
            if stage.kind == "embedding":
                # Beside the outputs of an LSTM, which are below 1, a row as long as torch's would drown them.
                nn.init.normal_(module.stage_weights()[stage.name]["weight"], std=_FIRST_ROWS)
        return TagNetwork(module, len(recipe.config.words), recipe.language_modelling)


def _as_model(module: StagedModel, config: TagConfig, forbidden: Sequence[Tensor]) -> TagModel:
    weights = module.arrays()
    for name, never in zip(_TRANSITIONS, forbidden, strict=True):
        if f"path.{name}" in weights:
            weights[f"path.{name}"] += never.numpy()
    document = {"task": "tag", "tag": config.to_dict(), "stages": [stage.to_dict() for stage in module.stages]}
    return TagModel(document, weights)


def _forbidden(config: TagConfig, sentences: Sequence[Sentence]) -> list[Tensor]:
    """What is added to the scores of transitions, first and last tags: nothing, or what rules them out."""
    allowed = tag_transitions(config.tags.names, (sentence.tags for sentence in sentences))
    return [torch.from_numpy(np.where(may, 0.0, FORBIDDEN).astype(np.float32)) for may in allowed]


def _identity(recipe: Recipe, sentences: Sequence[Sentence], judged: Sequence[Sentence]) -> str:
    """Names data, network and training, so that a checkpoint is never continued on others."""
    if recipe.training.checkpoint is None:
        return ""
    options = [recipe.config.to_dict(), asdict(recipe.sizes), recipe.training.fingerprint(), recipe.batch_size]
    options.append(recipe.language_modelling)
    name = hashlib.sha256(json.dumps(options).encode())
    for sentence in chain(sentences, [None], judged):
        name.update(repr(sentence and (sentence.words, sentence.tags, sentence.label)).encode())
    return name.hexdigest()
