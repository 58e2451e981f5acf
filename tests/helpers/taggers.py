"""A small untrained tagger with random weights, on both sides of the file."""

import numpy as np
from helpers.models import randomise

from lstmkit.features import Vocabulary, tag_transitions
from lstmkit.nn import StagedModel
from lstmkit.runtime import TagConfig, TagModel
from lstmkit.tasks.tagging.model import Sizes, tag_stages

SIZES = {"word_size": 5, "character_size": 3, "spelling_size": 4, "hidden_size": 6, "dropout": 0.4}


def tag_config(**changes) -> TagConfig:
    whole = {
        "tags": Vocabulary(["O", "B-x", "I-x", "B-y", "I-y"]),
        "words": Vocabulary(["<unk>", "the", "cat", "0000", "n't"]),
        "characters": Vocabulary(["<unk>", *"thecaTH0"]),
        "labels": Vocabulary(["ask", "say", "do"]),
    }
    return TagConfig(**(whole | changes))


def tag_module(config: TagConfig, *, crf: bool = True, layers: int = 2) -> StagedModel:
    return randomise(StagedModel(tag_stages(config, Sizes(**SIZES, num_layers=layers, crf=crf))))


def tag_document(config: TagConfig, module: StagedModel) -> dict:
    return {"task": "tag", "tag": config.to_dict(), "stages": [stage.to_dict() for stage in module.stages]}


def tag_model(config: TagConfig, module: StagedModel) -> TagModel:
    """The same without torch, with its forbidden transitions ruled out."""
    weights = module.arrays()
    if "path.transitions" in weights:
        names = ("transitions", "first", "last")
        for name, may in zip(names, tag_transitions(config.tags.names), strict=True):
            weights[f"path.{name}"][~may] = -1e4
    return TagModel(tag_document(config, module), {name: np.array(array) for name, array in weights.items()})
