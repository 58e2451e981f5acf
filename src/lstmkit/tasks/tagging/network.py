"""The network in training: the tagger's stages, and a second task that they learn from beside the tags."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from lstmkit.nn import linear_cross_entropy
from lstmkit.nn.stages import StagedModel

# What the LSTM over words says, with values dropped.
_READ = "thinned"
_WIDTH = 64
# The most frequent words, which alone are foretold.
_FORETOLD = 7500


class TagNetwork(nn.Module):
    """A tagger that also learns to foretell the words around each word, which takes sentences alone.

    What was read up to a word foretells the next one, and what follows it the one before. Few sentences with tags teach
    much less about words than the same sentences teach about each other. Nothing of it is in the model file.

    Source: Rei (2017), Semi-supervised multitask learning for sequence labeling, equations 7 to 12.

    Args:
        model: The tagger's stages.
        words: How many words have rows of their own.
        weight: How much a nat of a foretold word counts beside one of a tag; 0 foretells nothing.
    """

    def __init__(self, model: StagedModel, words: int, weight: float) -> None:
        super().__init__()
        self.model, self.weight = model, weight
        units = next(stage.options["features"] for stage in model.stages if stage.name == "scores") // 2
        classes = min(words, _FORETOLD) if weight else 0
        self.heads = nn.ModuleList(_Foretelling(units, classes) for _ in range(2) if classes)

    def forward(self, batch: Mapping[str, Tensor], only: Collection[str]) -> dict[str, Tensor]:
        """Values of the tagger, and in training ``foretold``, weighted nats of all words together."""
        values = self.model(batch, only=(*only, _READ))
        read = values.pop(_READ)
        if self.training and len(self.heads):
            values["foretold"] = self.weight * self._missed(read, batch["tokens"], batch["lengths"])
        return values

    def _missed(self, read: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        ahead, back = read.chunk(2, -1)
        padding = torch.arange(1, tokens.shape[1], device=tokens.device) >= lengths[:, None]
        # No word comes behind the last one, which is therefore not foretold from there.
        following, before = (part.masked_fill(padding, 0) for part in (tokens[:, 1:], tokens[:, :-1]))
        return self.heads[0](ahead[:, :-1], following) + self.heads[1](back[:, 1:], before)


class _Foretelling(nn.Module):
    """A narrow layer and a softmax over the most frequent words. The unknown word, number 0, is not foretold."""

    def __init__(self, units: int, classes: int) -> None:
        super().__init__()
        self.narrow, self.scores = nn.Linear(units, _WIDTH), nn.Linear(_WIDTH, classes)

    def forward(self, read: Tensor, words: Tensor) -> Tensor:
        known = (words > 0) & (words < len(self.scores.bias))
        count = int(known.sum())
        if not count:
            return read.new_zeros((), dtype=torch.float32)
        x = torch.tanh(self.narrow(read[known]))
        return count * linear_cross_entropy(x, self.scores.weight, self.scores.bias, words[known])
