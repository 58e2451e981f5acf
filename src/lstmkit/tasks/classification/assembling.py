"""From trained readers to one model: their opinions weighed against those of naive Bayes, all of it as stages.

Legend: ``N`` examples, ``K`` labels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.runtime import ClassifyModel, Stage, TextReader
from lstmkit.runtime.classify import softmax
from lstmkit.tasks.classification import naive_bayes
from lstmkit.tasks.classification.calibration import fit_scales
from lstmkit.tasks.classification.evaluation import evaluate
from lstmkit.tasks.classification.judging import Judge
from lstmkit.tasks.classification.model import SCORES, named
from lstmkit.tasks.classification.recipe import Members, Recipe, Task
from lstmkit.tasks.classification.rows import keep_grams
from lstmkit.training import TrainingResult

Array = NDArray[Any]


def assemble(recipe: Recipe, module: Members, task: Task, judge: Judge, result: TrainingResult) -> ClassifyModel:
    """All readers in one model, with scores on the examples that each was not shown."""
    module.eval()
    opinions = [judge.scores(module)]
    counted = _Counted(recipe.reader, task, len(recipe.labels)) if isinstance(recipe.reader, TextReader) else None
    if counted is not None:
        opinions.append(counted.held_back(judge))
    scales = fit_scales(np.stack(opinions), judge.labels)
    stages, weights = _together(recipe, module, float(scales[0]))
    answers = [stage.name for stage in stages if stage.name.startswith(SCORES)]
    if counted is not None:
        answers.append(_add_counted(recipe.reader, stages, weights, counted.ratios(None) * np.float32(scales[1])))
    stages.append(Stage("answer", "add", tuple(answers), {}))
    probabilities = softmax(np.tensordot(scales, np.stack(opinions), 1))
    names = [recipe.labels.names[number] for number in judge.labels]
    document = {
        **recipe.document,
        "task": "classify",
        "classify": {"labels": recipe.labels.to_list(), "reader": recipe.reader.to_dict()},
        "stages": [stage.to_dict() for stage in stages],
        "scores": evaluate(names, probabilities, recipe.labels).to_dict(),
        "training": {"stopped": result.stopped},
    }
    return ClassifyModel(document, weights)


def _together(recipe: Recipe, module: Members, scale: float) -> tuple[list[Stage], dict[str, Array]]:
    """The stages of all readers under names of their own; the last layer of each takes the factor in."""
    stages, weights = list[Stage](), dict[str, Array]()
    inputs = set(recipe.reader.shapes())
    for number, member in enumerate(module):
        stages += named(list(member.stages), f"_{number}", inputs)  # pyright: ignore[reportArgumentType]
        for name, array in member.arrays().items():  # pyright: ignore[reportCallIssue]
            stage, _, parameter = name.partition(".")
            factor = np.float32(scale / recipe.members) if stage == SCORES else np.float32(1)
            weights[f"{stage}_{number}.{parameter}"] = array * factor
    return stages, weights


def _add_counted(reader: Any, stages: list[Stage], weights: dict[str, Array], ratios: Array) -> str:
    """Naive Bayes as stages: the sum of what each token and pair speaks for."""
    options = {"things": reader.grams, "features": ratios.shape[1], "how": "sum"}
    stages.append(Stage("ratios", "bag", ("grams",), options))
    stages.append(Stage("counted", "pool", ("ratios", "lengths"), {"how": "sum"}))
    weights["ratios.weight"] = ratios
    return "counted"


class _Counted:
    """Naive Bayes of all examples, and of all but those of a fold."""

    def __init__(self, reader: TextReader, task: Task, classes: int) -> None:
        self.reader, self.task, self.classes = reader, task, classes
        self.grams = keep_grams(reader, task.rows)

    def ratios(self, without: int | None) -> Array:
        """Log ratios of the examples that are not in the fold."""
        kept = np.flatnonzero(self.task.folds != without) if without is not None else np.arange(len(self.grams))
        counts = naive_bayes.count_grams(self.grams[kept], self.task.labels[kept], self.reader.grams, self.classes)
        return naive_bayes.log_ratios(counts)

    def held_back(self, judge: Judge) -> Array:
        """Scores of the examples that a judge judges by."""
        parts: list[Array] = []
        for source, index, members in judge.parts:
            ratios = self.ratios(None if source is not self.task else members[0])
            grams = self.grams if source is self.task else keep_grams(self.reader, source.rows)
            parts.append(naive_bayes.scores(grams[index], ratios))
        return np.concatenate(parts)
