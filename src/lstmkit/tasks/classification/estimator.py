"""The classifier that people call: labelled texts or series in; labels, probabilities and honest scores out."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Self

from numpy.typing import NDArray

from lstmkit.features import Level, Vocabulary, check_level
from lstmkit.runtime import ClassifyModel
from lstmkit.spec import DataError, OptionError
from lstmkit.tasks.classification.evaluation import Evaluation, evaluate
from lstmkit.tasks.classification.examples import Columns, Examples, read_examples
from lstmkit.tasks.classification.explanation import Explanation
from lstmkit.tasks.classification.model import Sizes
from lstmkit.tasks.estimator import Estimator

Array = NDArray[Any]

LEVELS = ("word", "character", "bpe", "wordpiece")
POOLS = ("summary", "attention")
_MIN_COUNT = 2


class Classifier(Estimator):
    """Put labels on texts or on series, with probabilities that mean what they say.

    Texts come as lists, or from ``.csv``, ``.tsv``, ``.json`` and ``.jsonl`` files with a text and a label column;
    series come as arrays ``(steps, channels)``, from ``.ts`` files, or from tables with one row per step and a column
    that tells series apart.

    Args:
        level: What a token is: ``"word"``, ``"character"``, ``"bpe"`` or ``"wordpiece"``; or the path of a
            ``tokenizer.json`` of Hugging Face tokenizers, which is taken as it is.
        text_column: Column of the text.
        label_column: Column of the label.
        id_column: Column that tells series apart; given, tables hold series.
        time_column: Column to sort the steps of a series by.
        value_columns: Columns of values; None takes all that are left.
        encoding: Of text files.
        lowercase: Take upper and lower case for the same.
        min_count: Words that are rarer are known by their letters alone.
        class_weights: ``"balanced"``, or label -> how much an error on it counts; None counts all alike.
        members: Networks that decide together, each judged by examples that it was not shown; None takes 4, or one of
            more than 20,000 examples.
        embedding_size: Features of a token.
        hidden_size: Units of the LSTM in each direction.
        num_layers: Layers of the LSTM.
        dropout: Part of the LSTM's findings that is dropped in training.
        input_dropout: Part of the token's features, or of the values, that is dropped in training; None takes 0.5 for
            texts, nothing for series.
        pool: How the steps come together: ``"summary"`` (largest, mean, of series also last) or ``"attention"``; None
            takes attention for texts, the summary for series.
        label_smoothing: How much of the truth is spread over all labels.
        max_epochs: Passes over the examples; few examples are passed over more often.
        batch_size: Examples of a training step.
        learning_rate: Highest learning rate.
        patience: Stop when so many validations in a row were no better; None trains to the end. The best weights are
            kept either way.
        time_limit: Minutes that training may take; None sets no limit.
        checkpoint: A file from which a killed training goes on.
        log: A file to which JSON lines about the training are appended.
        mixed_precision: ``"auto"`` takes ``"bf16"`` where the processor is faster with it; or ``"no"``.
        device: ``"cpu"`` or ``"cuda"``; None takes what is there.
        seed: Of the weights and of what is drawn.
        quiet: Print nothing.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> texts = ["good and warm", "bad and cold", "warm food", "cold food"] * 5
        >>> classifier = Classifier(max_epochs=5, quiet=True).fit(texts, ["+", "-", "+", "-"] * 5)
        >>> classifier.predict(["a warm day"])
        ['+']
    """

    task = "classify"
    model_type = ClassifyModel

    def __init__(
        self,
        *,
        level: Level = "word",
        text_column: str = "text",
        label_column: str = "label",
        id_column: str | None = None,
        time_column: str | None = None,
        value_columns: Iterable[str] | None = None,
        encoding: str = "utf-8",
        lowercase: bool = False,
        min_count: int = _MIN_COUNT,
        class_weights: str | Mapping[str, float] | None = None,
        members: int | None = None,
        embedding_size: int = 100,
        hidden_size: int = 64,
        num_layers: int = 1,
        dropout: float = 0.5,
        input_dropout: float | None = None,
        pool: str | None = None,
        label_smoothing: float = 0.1,
        max_epochs: int = 8,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        patience: int | None = None,
        time_limit: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        log: str | os.PathLike[str] | None = None,
        mixed_precision: str | None = "auto",
        device: str | None = None,
        seed: int = 0,
        quiet: bool = False,
    ) -> None:
        _check_choice("pool", pool or POOLS[0], POOLS)
        _check_counts(min_count=min_count, embedding_size=embedding_size, hidden_size=hidden_size)
        _check_counts(num_layers=num_layers, max_epochs=max_epochs, batch_size=batch_size, members=members or 1)
        _check_parts(dropout=dropout, input_dropout=input_dropout or 0.0, label_smoothing=label_smoothing)
        _check_class_weights(class_weights)
        columns = (text_column, label_column, id_column or None, time_column or None, tuple(value_columns or ()))
        self.columns = Columns(*columns, encoding)
        self.level = check_level(level, LEVELS, lowercase=lowercase, min_count=min_count != _MIN_COUNT)
        self.lowercase, self.min_count = lowercase, min_count
        self.class_weights, self.members = class_weights, members
        self.sizes = Sizes(embedding_size, hidden_size, num_layers, dropout, 0.5, pool)
        self.input_dropout, self.label_smoothing = input_dropout, label_smoothing
        self.max_epochs, self.batch_size = max_epochs, batch_size
        super().__init__(
            {
                "learning_rate": learning_rate,
                "patience": patience,
                "time_limit": time_limit,
                "checkpoint": checkpoint,
                "log": log,
                "mixed_precision": mixed_precision,
                "device": device,
                "seed": seed,
                "quiet": quiet,
            }
        )

    def fit(self, data: Any, labels: Sequence[Any] | None = None, *, validation: Any = None) -> Self:
        """Train on labelled examples.

        Every example is held back from one of the networks (from a single network a tenth of them): that stops the
        training, weighs the opinions, calibrates the probabilities and gives the scores.

        Args:
            data: The path of a file, or a list of ``Path`` objects; or texts, series, or a table with texts. Files of
                texts may be larger than memory.
            labels: One for each text or series that is given as such.
            validation: A path, or examples with labels as a pair, to judge by instead and never learn from.

        Raises:
            DataError: the examples cannot be learned from.
            MissingExtraError: torch or another package of the extra ``text`` is missing.
        """
        from lstmkit.tasks.classification.preparing import prepare

        examples = read_examples(data, self.columns, labels)
        if self.columns.id is not None and examples.channels is not None:
            # Files to come may have other columns beside these.
            self.columns = replace(self.columns, values=examples.channels)
        judged = None if validation is None else self._validation(validation, examples)
        names = Vocabulary.count(examples.labelled())
        _check_labels(names, len(examples))
        self._model = prepare(self, examples, judged, names)
        return self

    def _validation(self, validation: Any, examples: Examples) -> Examples:
        pair = isinstance(validation, tuple) and len(validation) == 2  # pyright: ignore[reportUnknownArgumentType]
        data, labels = validation if pair else (validation, None)
        judged = read_examples(data, self.columns, labels)
        if judged.kind != examples.kind:
            raise DataError(f"what trains is {examples.kind}, but the validation data are {judged.kind}")
        _check_known(judged, set(examples.labelled()))
        return judged

    def predict(self, data: Any) -> list[str]:
        """The most probable label of each example.

        Args:
            data: As in :meth:`fit`, labels not needed; also a ``.txt`` file with a text per line.

        Raises:
            DataError: an example cannot be read.
        """
        return [self.model.labels.names[number] for number in self.probabilities(data).argmax(1)]

    def probabilities(self, data: Any) -> Array:
        """Probabilities ``(N, K)`` of all labels, in the order of ``labels``; arguments as in :meth:`predict`."""
        return self.model.probabilities(self.read(data).items)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the model knows, the most frequent one first."""
        return self.model.labels.names

    def evaluate(self, data: Any, labels: Sequence[Any] | None = None) -> Evaluation:
        """Judge the model by labelled examples; a label that it has never seen is counted as an error.

        Raises:
            DataError: an example cannot be read, or has no label.
        """
        examples = self.read(data, labels, labelled=True)
        return evaluate(examples.labelled(), self.model.probabilities(examples.items), self.model.labels)

    def explain(self, data: Any, label: str | None = None) -> list[Explanation]:
        """How much each token, or each step of a series, spoke for a label.

        Needs torch for the gradients.

        Args:
            data: As in :meth:`predict`.
            label: For which label; None takes the one that was found.

        Raises:
            OptionError: the model does not know the label.
            MissingExtraError: torch is missing.
        """
        from lstmkit.tasks.classification.attribution import explain

        if label is not None and self.model.labels.find(label) is None:
            raise OptionError(f"label {label!r} is not known; known: {', '.join(self.labels[:10])}")
        return explain(self.model, self.read(data).items, label)

    def read(self, data: Any, labels: Sequence[Any] | None = None, *, labelled: bool = False) -> Examples:
        """Examples for this model from a file or a list."""
        examples = read_examples(data, self.columns, labels, labelled=labelled)
        if (examples.kind == "text") != self.model.reads_text:
            wanted = "texts" if self.model.reads_text else "series"
            raise DataError(f"this model classifies {wanted}, but the data are {examples.kind}")
        return examples

    def read_as(self, **columns: str | None) -> Self:
        """Look for texts and labels in other columns, or read files in another encoding, than in :meth:`fit`.

        Args:
            columns: ``text_column``, ``label_column``, ``encoding``; what is None stays.
        """
        named = {"text_column": "text", "label_column": "label", "encoding": "encoding"}
        self.columns = replace(self.columns, **{named[name]: given for name, given in columns.items() if given})
        return self

    def result_rows(self, data: Any) -> Iterator[dict[str, Any]]:
        """The examples with their labels and the probabilities of all labels, as plain rows for a file."""
        examples = self.read(data)
        probabilities = self.model.probabilities(examples.items)
        names = examples.names or map(str, count(1))
        for item, name, own in zip(examples.items, names, probabilities, strict=False):
            shown = {"text": item} if examples.kind == "text" else {"series": name}
            best = int(own.argmax())
            each = {f"p_{label}": round(float(p), 6) for label, p in zip(self.labels, own, strict=True)}
            yield {**shown, "label": self.labels[best], "probability": round(float(own[best]), 6), **each}

    @classmethod
    def _restore(cls, model: Any) -> Self:
        columns = Columns.from_dict(model.document.get("columns"))
        classifier = cls()
        classifier.columns = columns
        return classifier


def _check_labels(names: Vocabulary, count: int) -> None:
    if len(names) < 2:
        raise DataError(f"every example has the label {names.names[0][:40]!r}; give examples of at least two labels")
    if len(names) > 20 and len(names) > count / 2:
        raise DataError(
            f"{len(names):,} different labels in {count:,} examples: that is hardly a set of classes; name the right "
            "column with label_column="
        )


def _check_known(judged: Examples, known: set[str]) -> None:
    for label in judged.labelled():
        if label not in known:
            raise DataError(f"the validation data have the label {label[:40]!r}, which no example that trains has")


def _check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise OptionError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")


def _check_counts(**counts: object) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OptionError(f"{name} must be a whole number of at least 1, not {value!r}")


def _check_parts(**parts: object) -> None:
    for name, value in parts.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise OptionError(f"{name} must be a number from 0 to below 1, not {value!r}")


def _check_class_weights(weights: object) -> None:
    if weights is None or weights == "balanced":
        return
    entries: Any = weights.values() if isinstance(weights, Mapping) else [None]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in entries):
        raise OptionError(f"class_weights must be 'balanced' or label -> number above 0, not {weights!r}")
