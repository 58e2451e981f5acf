"""Classification without torch: texts or series in, labels with their probabilities out.

Legend: ``B`` examples, ``K`` labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import Vocabulary
from lstmkit.runtime.classify_series import SeriesReader
from lstmkit.runtime.classify_text import TextReader
from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import Document
from lstmkit.runtime.stage_shapes import BATCH, WORDS, Shape
from lstmkit.spec import DataError, ModelFileError

Array = NDArray[Any]
Reader = TextReader | SeriesReader

_READERS: dict[str, type[TextReader] | type[SeriesReader]] = {"text": TextReader, "series": SeriesReader}
# Examples that are read together, and at most so many steps of them.
_BATCH, _STEPS_TOGETHER = 64, 32_768
_TEXTS_TOGETHER = 4096


class ClassifyModel(Model):
    """A trained classifier as a file holds it; NumPy only, and tokenizers for texts.

    Raises:
        ModelFileError: the document does not describe a classifier.
    """

    def __init__(self, document: Document, weights: Mapping[str, Array]) -> None:
        described = document.get("classify")
        fields: dict[str, Any] = described if isinstance(described, dict) else {}  # pyright: ignore[reportUnknownVariableType]
        self.labels = Vocabulary.from_list(fields.get("labels"))
        self.reader = read_reader(fields.get("reader"))
        super().__init__(document, weights)
        if self.shapes[self.answer] != (BATCH, len(self.labels)):
            raise ModelFileError(
                "the model file is damaged: its last stage does not answer with a number for each label"
            )
        self._check_numbers()

    def input_shapes(self) -> dict[str, Shape]:
        """What the reader gives."""
        return self.reader.shapes()

    @property
    def reads_text(self) -> bool:
        """Whether the model classifies texts, and not series."""
        return isinstance(self.reader, TextReader)

    def probabilities(self, examples: Sequence[Any]) -> Array:
        """Probabilities of all labels.

        Args:
            examples: Texts, or series ``(T, C)``.

        Returns:
            ``(B, K)`` float64, rows add up to 1.

        Raises:
            DataError: an example cannot be read.
        """
        if isinstance(examples, str):
            raise DataError("expected a list of texts, got one text; put it into a list")
        result = np.empty((len(examples), len(self.labels)))
        # Texts may be larger than memory.
        together = _TEXTS_TOGETHER if self.reads_text else max(len(examples), 1)
        for start in range(0, len(examples), together):
            rows: list[Any] = self.reader.rows(examples[start : start + together])  # pyright: ignore[reportArgumentType]
            for batch in _batches([row_length(row) for row in rows]):
                result[start + batch] = softmax(self.run(self.reader.arrays([rows[k] for k in batch]))[self.answer])
        return result

    def predict(self, examples: Sequence[Any]) -> list[str]:
        """The most probable label of each example; arguments and errors as in :meth:`probabilities`."""
        return [self.labels.names[number] for number in self.probabilities(examples).argmax(1)]

    def _check_numbers(self) -> None:
        """Hold the tables of the stages against the numbers that the reader can give."""
        most: dict[tuple[str, str], int] = {}
        if isinstance(self.reader, TextReader):
            tokens, grams, pieces = len(self.reader.encoder), self.reader.grams, self.reader.pieces
            most = {("embedding", "tokens"): tokens, ("bag", "grams"): grams, ("bag", "pieces"): pieces}
        for stage in self.stages:
            fits = True
            if stage.kind in ("bag", "embedding"):
                (rows, _), *_ = stage.parameter_shapes().values()
                fits = rows >= most.get((stage.kind, stage.inputs[0]), rows + 1)
            if stage.kind == "gather":
                fits = stage.inputs[1] == "places" and self.shapes[stage.inputs[0]][0] == WORDS
            if not fits:
                raise ModelFileError(f"the model file is damaged: the stage {stage.name!r} looks up what is not there")


def row_length(row: Any) -> int:
    """Steps of what a reader keeps of an example."""
    return len(row.numbers) if hasattr(row, "numbers") else len(row)


def read_reader(document: Any) -> Reader:
    """The reader of an untrusted document.

    Raises:
        ModelFileError: it is none.
    """
    fields: dict[str, Any] = document if isinstance(document, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _READERS:
        raise ModelFileError("the model file is damaged: it does not say what it classifies")
    try:
        return _READERS[kind].from_dict(fields)
    except ModelFileError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelFileError(
            f"the model file is damaged: its description of the input makes no sense ({str(error)[:120]})"
        ) from None


def softmax(scores: Array) -> Array:
    """Probabilities ``(B, K)`` in float64."""
    shifted = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _batches(lengths: list[int]) -> list[Array]:
    """Examples of like length together, fewer of them where they are long."""
    order = np.argsort(lengths, kind="stable")
    batches: list[Array] = []
    start = 0
    while start < len(order):
        stop = min(start + _BATCH, len(order))
        while stop - start > 1 and (stop - start) * lengths[order[stop - 1]] > _STEPS_TOGETHER:
            stop = start + (stop - start + 1) // 2
        batches.append(order[start:stop])
        start = stop
    return batches
