"""How good the readers are on examples that they were not shown.

Legend: ``N`` examples, ``K`` labels.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lstmkit.data import length_batches
from lstmkit.runtime.classify import softmax
from lstmkit.tasks.classification.model import SCORES
from lstmkit.tasks.classification.recipe import Recipe, Task

Array = NDArray[Any]

_TOGETHER = 128


class Judge:
    """Log loss on examples that were not learned from; the opinions on them."""

    def __init__(self, recipe: Recipe, task: Task, judged: Task | None) -> None:
        self.recipe, self.task, self.judged = recipe, task, judged
        # (examples, who judges them)
        everyone = range(recipe.members)
        parts = [(judged, np.arange(len(judged.labels)), everyone)] if judged else []
        if judged is None:
            parts = [(task, np.flatnonzero(task.folds == k), [k]) for k in everyone]
        self.parts = [(source, index, list(members)) for source, index, members in parts if len(index)]
        self.labels = np.concatenate([source.labels[index] for source, index, _ in self.parts])

    def __call__(self, module: nn.Module) -> float:
        """The log loss."""
        scores = self.scores(module)
        own = softmax(scores)[np.arange(len(scores)), self.labels]
        return float(-np.log(np.maximum(own, 1e-12)).mean())

    def scores(self, module: Any) -> Array:
        """Scores ``(N, K)`` of the examples held back, the mean of those who were not shown them."""
        return np.concatenate([self._part(module, *part) for part in self.parts])

    def _part(self, module: Any, source: Task, index: Array, members: list[int]) -> Array:
        device = next(module.parameters()).device
        scores = np.empty((len(index), len(self.recipe.labels)), np.float32)
        with torch.no_grad():
            for batch in length_batches(source.lengths[index], _TOGETHER, shuffle=False):
                arrays = self.recipe.reader.arrays([source.rows[k] for k in index[batch].tolist()], grams=False)
                inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
                found = torch.stack([module[k](inputs)[SCORES] for k in members]).mean(0)
                scores[batch] = found.cpu().numpy()
        return scores
