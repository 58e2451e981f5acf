"""The tagging network, as stages.

Each word is its row of a table, the row of its form, and what a bidirectional LSTM makes of its characters; a
bidirectional LSTM over the sentence scores the tags, and a CRF judges them together. The label of the sentence is read
from the largest outputs.
"""

from dataclasses import dataclass

from lstmkit.features import FORMS
from lstmkit.runtime import Stage, StagePlan, TagConfig
from lstmkit.runtime.tag import LABEL_SCORES
from lstmkit.spec import CellSpec


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network.

    Args:
        word_size: Features of a word's row.
        form_size: Features of the row of a word's form.
        character_size: Features of a character's row.
        spelling_size: Units of the LSTM over characters, per direction.
        hidden_size: Units of the LSTM over words, per direction.
        num_layers: Layers of that.
        dropout: Part of the inputs and outputs of that LSTM that is dropped in training.
        crf: Whether tags are judged together.
    """

    word_size: int = 100
    form_size: int = 8
    character_size: int = 32
    spelling_size: int = 64
    hidden_size: int = 128
    num_layers: int = 1
    dropout: float = 0.5
    crf: bool = True


class _Plan(StagePlan):
    """With LSTMs that read in both directions."""

    def lstm(self, name: str, value: str, lengths: str, features: int, units: int, layers: int, rate: float) -> str:
        cell = CellSpec(features, units, layers, bidirectional=True).to_dict()
        dropout = rate if layers > 1 else 0.0
        return self.add(name, "recurrent", value, lengths, cell=cell, lengths=True, dropout=dropout)


def tag_stages(config: TagConfig, sizes: Sizes) -> list[Stage]:
    """The network; its last stage scores the tags of each word."""
    plan, rate = _Plan(), sizes.dropout
    words = plan.add("words", "embedding", "tokens", tokens=len(config.words), features=sizes.word_size)
    forms = plan.add("word_forms", "embedding", "forms", tokens=len(FORMS), features=sizes.form_size)
    joined = plan.add("joined", "join_features", words, forms, _spellings(plan, config, sizes))
    plan.add("read", "dropout", joined, rate=rate, same_steps=True)
    features = sizes.word_size + sizes.form_size + 2 * sizes.spelling_size
    plan.lstm("sentence", "read", "lengths", features, sizes.hidden_size, sizes.num_layers, rate)
    plan.add("thinned", "dropout", "sentence", rate=rate, same_steps=True)
    width = 2 * sizes.hidden_size
    if config.labels is not None:
        plan.add("whole", "pool", "thinned", "lengths", how="max")
        plan.add(LABEL_SCORES, "linear", "whole", features=width, units=len(config.labels))
    plan.add("scores", "linear", "thinned", features=width, units=len(config.tags))
    if sizes.crf:
        plan.add("path", "crf", "scores", tags=len(config.tags))
    return plan.stages


def _spellings(plan: _Plan, config: TagConfig, sizes: Sizes) -> str:
    """What the characters of each word say; every different word of a batch is read once."""
    features, units = sizes.character_size, sizes.spelling_size
    plan.add("characters", "embedding", "spelled", tokens=len(config.characters), features=features)
    plan.lstm("spelling", "characters", "spelled_lengths", features, units, 1, 0.0)
    plan.add("spelling_ends", "join_directions", "spelling.h")
    return plan.add("spellings", "gather", "spelling_ends", "places")
