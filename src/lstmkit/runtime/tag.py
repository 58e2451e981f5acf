"""Tagging without torch: words or texts in, tags, spans and labels out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import FORMS, Word, are_span_tags, place_words, read_spans, split_words, viterbi
from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import Document
from lstmkit.runtime.stage_shapes import BATCH, LETTERS, STEPS, WORDS, Shape
from lstmkit.runtime.tag_config import TagConfig, word_key
from lstmkit.runtime.tag_inputs import tag_inputs
from lstmkit.spec import DataError, ModelFileError

Array = NDArray[Any]

LABEL_SCORES = "label_scores"
_TOGETHER = 64


class Entity(NamedTuple):
    """A span in the user's own text: characters ``start`` to before ``end``."""

    start: int
    end: int
    label: str
    text: str


@dataclass(frozen=True)
class Tagged:
    """A sentence with what was found in it.

    Args:
        text: As it was given; words that came without a text are joined by blanks.
        words: With their places in the text.
        tags: One for each word.
        label: Of the whole sentence, where the model gives one.
    """

    text: str
    words: tuple[Word, ...]
    tags: tuple[str, ...]
    label: str | None = None

    @property
    def entities(self) -> list[Entity]:
        """The spans, where the tags mark any."""
        if not are_span_tags(self.tags):
            return []
        places = [(self.words[a].start, self.words[b - 1].end, label) for a, b, label in read_spans(self.tags)]
        return [Entity(start, end, label, self.text[start:end]) for start, end, label in places]


class TagModel(Model):
    """A trained tagger as a file holds it; NumPy only.

    Raises:
        ModelFileError: the document does not describe a tagger.
    """

    def __init__(self, document: Document, weights: Mapping[str, Array]) -> None:
        self.config = TagConfig.from_dict(document.get("tag"))
        super().__init__(document, weights)
        config = self.config
        if self.shapes[self.answer] != (BATCH, STEPS, len(config.tags)):
            raise ModelFileError("the model file is damaged: its last stage does not score the tags of each word")
        labels = None if config.labels is None else (BATCH, len(config.labels))
        if self.shapes.get(LABEL_SCORES) != labels:
            raise ModelFileError("the model file is damaged: it does not score the labels of a sentence")
        for stage in self.stages:
            rows = {"tokens": config.words, "forms": FORMS, "spelled": config.characters}.get(stage.inputs[0])
            if stage.kind == "embedding" and (rows is None or len(rows) != stage.options["tokens"]):
                raise ModelFileError("the model file is damaged: words or characters have too few or too many rows")
            if stage.kind == "gather" and stage.inputs[1] != "places":
                raise ModelFileError("the model file is damaged: it takes rows by what are no places")

    def input_shapes(self) -> dict[str, Shape]:
        """What :func:`lstmkit.runtime.tag_inputs.tag_inputs` gives."""
        return {
            "tokens": (BATCH, STEPS),
            "lengths": (BATCH,),
            "forms": (BATCH, STEPS),
            "places": (BATCH, STEPS),
            "spelled": (WORDS, LETTERS),
            "spelled_lengths": (WORDS,),
        }

    def split(self, text: str) -> list[Word]:
        """The words of a text, cut as those that the model has learned from."""
        words = self.config.words
        return split_words(text, lambda word: words.find(word_key(word)) is not None)

    def predict(self, sentences: Iterable[str | Sequence[str]]) -> list[Tagged]:
        """Tag sentences.

        Args:
            sentences: Each a text, or the list of its words. Texts without a word have no tags.

        Raises:
            DataError: a word is empty or no text.
        """
        if isinstance(sentences, str):
            raise DataError("expected a list of sentences, got one text; give [text]")
        return self.tag([self._read(sentence) for sentence in sentences])

    def tag(self, sentences: Sequence[tuple[str, Sequence[Word]]]) -> list[Tagged]:
        """Tag texts whose words and their places are given."""
        tags, labels = self.tag_words([[word.text for word in words] for _, words in sentences])
        rows = zip(sentences, tags, labels, strict=True)
        return [Tagged(text, tuple(words), own, label) for (text, words), own, label in rows]

    def tag_words(self, sentences: Sequence[Sequence[str]]) -> tuple[list[tuple[str, ...]], list[str | None]]:
        """Tags of each word, and the label of each sentence, or None, where there are no words to read."""
        tags: list[tuple[str, ...]] = [()] * len(sentences)
        labels: list[str | None] = [None] * len(sentences)
        names = self.config.tags.names
        order = sorted((k for k, words in enumerate(sentences) if words), key=lambda k: len(sentences[k]))
        for start in range(0, len(order), _TOGETHER):
            part = order[start : start + _TOGETHER]
            inputs = tag_inputs(self.config, [sentences[k] for k in part])
            values = self.run(inputs)
            paths = best_paths(values, self.answer, inputs["lengths"])
            for k, path in zip(part, paths, strict=True):
                tags[k] = tuple(names[int(tag)] for tag in path)
            if self.config.labels is not None:
                for k, label in zip(part, values[LABEL_SCORES].argmax(1), strict=True):
                    labels[k] = self.config.labels.names[label]
        return tags, labels

    def _read(self, sentence: str | Sequence[str]) -> tuple[str, list[Word]]:
        if isinstance(sentence, str):
            return sentence, self.split(sentence)
        if not all(isinstance(word, str) and word for word in sentence):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DataError(f"expected words that are not empty, got {list(sentence)[:10]!r}")
        return place_words(sentence)


def best_paths(values: Mapping[str, Array], answer: str, lengths: Array) -> list[NDArray[np.int64]]:
    """The numbers of each row's tags: the best path of a CRF, or else the best tag of each word.

    Args:
        values: What the stages gave, as NumPy arrays.
        answer: Name of the last stage.
        lengths: Words of each row.
    """
    scores = values[answer]
    if f"{answer}.transitions" not in values:
        return [row[:length].argmax(1) for row, length in zip(scores, lengths, strict=True)]
    transitions, first, last = (values[f"{answer}.{name}"] for name in ("transitions", "first", "last"))
    return viterbi(scores, transitions, first, last, lengths)[0]
