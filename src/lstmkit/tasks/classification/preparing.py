"""From what the user gave to what is trained: the reader, the folds, the recipe."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import Vocabulary, encoder_of
from lstmkit.runtime import ClassifyModel
from lstmkit.spec import OptionError
from lstmkit.tasks.classification.examples import Examples
from lstmkit.tasks.classification.fitting import Recipe, Task, fit_model, spread_folds, with_end
from lstmkit.tasks.classification.readers import series_reader, text_reader
from lstmkit.tasks.classification.rows import keep_rows
from lstmkit.training import TrainingConfig

if TYPE_CHECKING:
    from lstmkit.tasks.classification.estimator import Classifier

Array = NDArray[Any]

# More examples than these are read by one reader alone.
_FEW, _READERS = 20_000, 4
# What differs between texts and series: part of the input dropped, words taken for unknown ones, noise, and the fewest
# steps of an epoch.
_BY_KIND = {"text": (0.5, 0.1, 0.0, 25), "series": (0.0, 0.0, 0.2, 125)}


def prepare(classifier: "Classifier", examples: Examples, judged: Examples | None, labels: Vocabulary) -> ClassifyModel:
    """Train what a classifier was told to."""
    reader, rows = _read(classifier, examples)
    names = examples.labelled()
    numbers = labels.numbers(names)
    members = min(classifier.members or (_READERS if len(examples) <= _FEW else 1), len(examples))
    seed = classifier.training["seed"]
    folds = np.full(len(numbers), -1) if judged else spread_folds(numbers, members, seed)
    input_dropout, unknown, noise, least = _BY_KIND[examples.kind]
    if classifier.input_dropout is not None:
        input_dropout = classifier.input_dropout
    batch_size = min(classifier.batch_size, max(8, len(examples) // 8))
    training = TrainingConfig(max_epochs=classifier.max_epochs, averaging=0.98, **classifier.training)
    recipe = Recipe(
        reader=reader,
        labels=labels,
        sizes=replace(classifier.sizes, input_dropout=input_dropout),
        members=members,
        training=with_end(training, -(-len(examples) // batch_size), least),
        batch_size=batch_size,
        label_smoothing=classifier.label_smoothing,
        class_weights=weigh_classes(classifier.class_weights, labels, names),
        unknown=unknown,
        noise=noise,
        document={"columns": asdict(classifier.columns)},
    )
    held = None
    if judged is not None:
        given = labels.numbers(judged.labelled())
        held = Task(keep_rows(reader, judged.items), given, np.full(len(given), -1))
    return fit_model(recipe, Task(rows, numbers, folds), held)


def _read(classifier: "Classifier", examples: Examples) -> tuple[Any, Sequence[Any]]:
    """How the examples are to be read, learned from them, and what is read."""
    if examples.channels is not None:
        reader = series_reader(examples.items, examples.channels)
        return reader, reader.rows(examples.items)
    encoder = encoder_of(
        classifier.level,
        lambda: examples.items,
        min_count=classifier.min_count if classifier.level == "word" else 1,
        lowercase=classifier.lowercase,
    )
    words = classifier.level != "character" and encoder.level == "word"
    return text_reader(examples.items, encoder, lowercase=classifier.lowercase, letters=words)


def weigh_classes(class_weights: str | Mapping[str, float] | None, labels: Vocabulary, found: Sequence[str]) -> Array:
    """How much an error on each label counts, one on average.

    Raises:
        OptionError: a weight is given to a label that is not there.
    """
    if class_weights is None:
        return np.ones(len(labels))
    counts = Counter(found)
    if class_weights == "balanced":
        return np.array([len(found) / (len(labels) * counts[name]) for name in labels.names])
    assert not isinstance(class_weights, str)
    for name in class_weights:
        if labels.find(name) is None:
            raise OptionError(f"class_weights= names {name!r}, which is no label; there are: {', '.join(labels.names)}")
    return np.array([float(class_weights.get(name, 1.0)) for name in labels.names])
