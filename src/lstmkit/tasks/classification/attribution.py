"""How much each token or step spoke for a label: gradient times input, by torch.

Source: Shrikumar et al. (2016), Not Just a Black Box: Learning Important Features, section 3.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstmkit.nn.stages import StagedModel
from lstmkit.runtime import ClassifyModel
from lstmkit.runtime.model import flatten_weights
from lstmkit.tasks.classification.explanation import Explanation

Array = NDArray[Any]


def explain(model: ClassifyModel, examples: Sequence[Any], label: str | None) -> list[Explanation]:
    """Explain a label of each example; see :meth:`Classifier.explain`."""
    module = StagedModel(model.stages)
    module.load_arrays(flatten_weights(model.weights))
    module.eval().requires_grad_(False)
    rows: list[Any] = model.reader.rows(examples)  # pyright: ignore[reportArgumentType]
    return [_explain_one(model, module, row, example, label) for row, example in zip(rows, examples, strict=True)]


def _explain_one(model: ClassifyModel, module: StagedModel, row: Any, example: Any, label: str | None) -> Explanation:
    arrays = model.reader.arrays([row])
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    leaves: list[Tensor] = []
    scores = module(_with_leaf(inputs, leaves), _recording(module, leaves))[model.answer][0]
    number = int(scores.argmax()) if label is None else int(model.labels.find(label) or 0)
    others = torch.cat([scores[:number], scores[number + 1 :]])
    gradients = torch.autograd.grad(scores[number] - others.logsumexp(0), leaves)
    weights = sum((leaf.detach() * gradient).sum(-1)[0] for leaf, gradient in zip(leaves, gradients, strict=True))
    named = {"label": model.labels.names[number], "probability": float(scores.softmax(0)[number].detach())}
    found = np.asarray(weights)
    if not model.reads_text:
        return Explanation(**named, parts=[f"step {step}" for step in range(1, len(found) + 1)], weights=found)
    parts = [example[start:stop] for start, stop in row.offsets]
    return Explanation(**named, parts=parts, weights=found, offsets=row.offsets, text=example)


def _with_leaf(inputs: dict[str, Tensor], leaves: list[Tensor]) -> dict[str, Tensor]:
    """Values of series are looked at themselves."""
    if "values" not in inputs:
        return inputs
    leaves.append(inputs["values"].requires_grad_())
    return inputs


def _recording(module: StagedModel, leaves: list[Tensor]) -> dict[str, Callable[..., Tensor]]:
    """Stages that look things up, with their results as what is looked at."""

    def record(part: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*arguments: Tensor) -> Tensor:
            leaves.append(part(*arguments).requires_grad_())
            return leaves[-1]

        return run

    found = module.overrides()
    by_step = [s.name for s in module.stages if s.kind in ("embedding", "gather") or s.inputs == ("grams",)]
    return {name: record(found[name]) for name in by_step}
