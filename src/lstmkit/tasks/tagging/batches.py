"""Sentences to batches of tensors."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstmkit.data import Sentence, keep_numbers, length_batches, pad
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
        self._lengths = np.fromiter((len(sentence.words) for sentence in sentences), np.int64)
        counts = Counter(word_key(word) for sentence in sentences for word in sentence.words)
        self._seen = keep_numbers([counts[word_key(word)] for word in sentence.words] for sentence in sentences)

    def __call__(self, epoch: int) -> "_Epoch":
        """Which sentences each batch of an epoch has, and their words that are to be unknown: ``(B,)`` and ``(B, T)``.

        Both are drawn from NumPy's global random state.
        """
        return _Epoch(self, length_batches(self._lengths, self._size, shuffle=True))

    def draw(self, part: NDArray[np.int64]) -> dict[str, Tensor]:
        """One batch of an epoch."""
        rates = [_UNKNOWN_RATE / (_UNKNOWN_RATE + self._seen[k]) for k in part.tolist()]
        unknown, _ = pad([np.random.random(len(rate)) < rate for rate in rates])
        return {"rows": torch.from_numpy(part), "unknown": torch.from_numpy(unknown > 0)}

    def tensors(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """These sentences as :func:`make_batch` gives them, on the device of ``batch``.

        A batch is made no sooner: of several processes, each reads the words of its own sentences.
        """
        found = make_batch(self._config, [self._sentences[k] for k in batch["rows"].tolist()])
        unknown = batch["unknown"][:, : found["tokens"].shape[1]].cpu()
        found["tokens"] = found["tokens"].masked_fill(unknown, 0)
        return {name: tensor.to(batch["rows"].device) for name, tensor in found.items()}


@dataclass(frozen=True)
class _Epoch:
    batches: Batches
    rows: Sequence[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return map(self.batches.draw, self.rows)


def make_batch(config: TagConfig, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
    """Inputs, and the answers ``tags (B, T)`` and ``labels (B,)``, -1 where there is none."""
    arrays = tag_inputs(config, [sentence.words for sentence in sentences])
    arrays["tags"] = pad([config.tags.numbers(sentence.tags, unknown=-1) for sentence in sentences])[0]
    if config.labels is not None:
        arrays["labels"] = config.labels.numbers([sentence.label or "" for sentence in sentences], unknown=-1)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
