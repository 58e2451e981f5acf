"""What is to be trained, from what, and how.

Legend: ``M`` readers, ``N`` examples, ``K`` labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lstmkit.features import Vocabulary
from lstmkit.runtime import SeriesReader, TextReader
from lstmkit.runtime.classify import row_length
from lstmkit.tasks.classification.model import SCORES, Sizes
from lstmkit.training import TrainingConfig

Array = NDArray[Any]
Reader = TextReader | SeriesReader


@dataclass(frozen=True)
class Task:
    """Examples as a reader keeps them, with the numbers of their labels.

    Args:
        rows: Of each example; those of texts lie on disk.
        labels: ``(N,)``.
        folds: ``(N,)``: the reader that an example is held back from; -1: none.
    """

    rows: Sequence[Any]
    labels: Array
    folds: Array

    @cached_property
    def lengths(self) -> Array:
        """Steps of each example, ``(N,)``."""
        return np.fromiter(map(row_length, self.rows), np.int64)


@dataclass(frozen=True)
class Recipe:
    """What is to be trained, and how.

    Args:
        reader: Brings examples into the form of the inputs.
        labels: Their names.
        sizes: Of the network.
        members: How many readers, ``M``.
        training: The loop's options.
        batch_size: Examples of a batch.
        label_smoothing: How much of the truth is spread over all labels.
        class_weights: How much an error on each label counts, ``(K,)``.
        unknown: How often a word is taken for an unknown one in training.
        noise: Spread of the noise on values of series in training.
        document: What the task adds to the model's document.
    """

    reader: Reader
    labels: Vocabulary
    sizes: Sizes
    members: int
    training: TrainingConfig
    batch_size: int
    label_smoothing: float
    class_weights: Array
    unknown: float
    noise: float
    document: dict[str, Any]


class Members(nn.ModuleList):
    """Readers of one kind, each with weights of its own."""

    def forward(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """Scores ``(B, K)`` of each."""
        return [member(inputs)[SCORES] for member in self]
