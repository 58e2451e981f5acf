"""Sentences to batches of tensors."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lstmkit.data import Sentence, length_batches, pad
from lstmkit.runtime import TagConfig
from lstmkit.runtime.tag_config import word_key
from lstmkit.runtime.tag_inputs import tag_inputs

# A word seen n times is made unknown with the probability a / (a + n), so that the row of unknown words learns.
# Source: Kiperwasser & Goldberg, TACL 4, 2016, section 4.1.
_UNKNOWN_RATE = 0.25


class Batches:
    """The training batches: sentences of like length, with some of the rare words made unknown.

    Args:
        config: Of the tagger.
        sentences: All.
        size: Sentences of a batch.
    """

    def __init__(self, config: TagConfig, sentences: Sequence[Sentence], size: int) -> None:
        self._config, self._sentences, self._size = config, sentences, size
        self._lengths = [len(sentence.words) for sentence in sentences]
        counts = Counter(word_key(word) for sentence in sentences for word in sentence.words)
        seen = np.array([counts[key] for key in config.words.names], float)
        self._rates = _UNKNOWN_RATE / (_UNKNOWN_RATE + seen)

    def __call__(self, epoch: int) -> list[Tensor]:
        """Which sentences each batch of an epoch has, drawn from NumPy's global random state."""
        return [torch.from_numpy(part) for part in length_batches(self._lengths, self._size, shuffle=True)]

    def tensors(self, rows: Tensor) -> dict[str, Tensor]:
        """These sentences as :func:`make_batch` gives them, on the device of ``rows``.

        A batch is made no sooner: of several processes, each reads the words of its own sentences.
        """
        found = make_batch(self._config, [self._sentences[k] for k in rows.tolist()])
        tokens = found["tokens"].numpy()
        drawn = np.random.random(tokens.shape) < self._rates[tokens]
        found["tokens"] = torch.from_numpy(np.where(drawn, 0, tokens))
        return {name: tensor.to(rows.device) for name, tensor in found.items()}


def make_batch(config: TagConfig, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
    """Inputs, and the answers ``tags (B, T)`` and ``labels (B,)``, -1 where there is none."""
    arrays = tag_inputs(config, [sentence.words for sentence in sentences])
    arrays["tags"] = pad([config.tags.numbers(sentence.tags, unknown=-1) for sentence in sentences])[0]
    if config.labels is not None:
        arrays["labels"] = config.labels.numbers([sentence.label or "" for sentence in sentences], unknown=-1)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
