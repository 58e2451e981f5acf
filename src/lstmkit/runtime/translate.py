"""A translator without torch: texts in, texts out, by beam search over an encoder-decoder with attention."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.features import END, START
from lstmkit.runtime.model import Model
from lstmkit.runtime.model_file import Document
from lstmkit.runtime.stage_shapes import BATCH, STEPS, Shape
from lstmkit.runtime.translate_beam import Hypothesis, Search, beam_search
from lstmkit.runtime.translate_decoder import BeamDecoder, log_softmax, split_stages
from lstmkit.runtime.translate_encoders import Encoders, Row, number_texts, spell
from lstmkit.spec import DataError, ModelFileError

Array = NDArray[Any]

TARGET_STEPS = -6
# Steps of source or target that one batch holds, all sentences and beams together.
_BATCH_STEPS = 16_384
_BATCH_SENTENCES = 256


@dataclass(frozen=True)
class Translation:
    """One answer.

    Args:
        text: The answer.
        score: Natural logarithm of its probability, with the penalties of the search; higher is better.
        source_tokens: What was read, the end included; ``S``.
        tokens: What was written, the end included where it came to one; ``T``.
        attention: How much of each source token was read for each token written, ``(T, S)``.
    """

    text: str
    score: float
    source_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    attention: Array


class TranslateModel(Model):
    """A loaded translator.

    Args:
        document: The JSON document of a model file.
        weights: Arrays by ``stage.parameter``.

    Raises:
        ModelFileError: the file describes no translator.
    """

    def __init__(self, document: Document, weights: Mapping[str, Array]) -> None:
        super().__init__(document, weights)
        self.encoders = Encoders.from_document(document)
        self._encoder_stages, self._decoder_stages = split_stages(self.stages, "target")
        given = {name for stage in self._encoder_stages for name in stage.results} | {"source_lengths"}
        read = {name for stage in self._decoder_stages for name in stage.inputs}
        self._memory = sorted(given & read)
        self._check()

    def input_shapes(self) -> dict[str, Shape]:
        """Sources and their lengths, and the tokens before each token of the target."""
        return {"source": (BATCH, STEPS), "source_lengths": (BATCH,), "target": (BATCH, TARGET_STEPS)}

    def translate(self, texts: Sequence[str], search: Search | None = None) -> list[list[Translation]]:
        """The best answers to each text, best first. An empty text has one empty answer.

        Args:
            texts: Sentences, or words to be spelled; as long as they like.
            search: How to search; None is :class:`Search` as it is.
        """
        search = search or Search()
        numbers = number_texts(self.encoders.source, texts)
        answers: list[list[Translation]] = [[_nothing()] for _ in texts]
        filled = [row for row, text in enumerate(texts) if text.strip()]
        for rows in _batches(filled, [len(numbers[row]) for row in filled], search.beam):
            lengths = np.array([len(numbers[row]) for row in rows])
            decoder = BeamDecoder(self, self._decoder_stages, self._encode([numbers[row] for row in rows]), search.beam)
            found = beam_search(decoder, lengths.tolist(), (2 * lengths + 20).tolist(), search)
            for row, hypotheses in zip(rows, found, strict=True):
                tokens = spell(self.encoders.source, numbers[row])
                answers[row] = [self._answer(one, tokens) for one in hypotheses]
        return answers

    def log_probabilities(self, sources: Sequence[str], targets: Sequence[str]) -> tuple[Array, Array]:
        """How probable each target is, given its source.

        Returns:
            Natural logarithms of the probabilities ``(N,)``, and the tokens of each target with its end ``(N,)``.

        Raises:
            DataError: there are not as many targets as sources.
        """
        if len(sources) != len(targets):
            raise DataError(f"expected a target for each source, got {len(sources):,} and {len(targets):,}")
        read, written = self.encoders.number(sources, targets)
        total, counts = np.zeros(len(read)), np.array([len(one) for one in written], np.int64)
        longest = [max(len(one), len(other)) for one, other in zip(read, written, strict=True)]
        for rows in _batches(range(len(read)), longest, 5):
            answers, lengths = _padded([written[row] for row in rows])
            inputs = np.concatenate([np.full((len(rows), 1), START), answers[:, :-1]], 1)
            sources_padded, source_lengths = _padded([read[row] for row in rows])
            values = self.run({"source": sources_padded, "source_lengths": source_lengths, "target": inputs})
            found = np.take_along_axis(log_softmax(values[self.answer]), answers[:, :, None], 2)[:, :, 0]
            steps: Array = np.arange(int(lengths.max()))
            beyond = np.less_equal.outer(lengths, steps)
            total[rows] = np.where(beyond, 0, found).sum(1, dtype=np.float64)
        return total, counts

    def _encode(self, numbers: Sequence[Sequence[int]]) -> dict[str, Array]:
        """What the decoder reads of the sources."""
        source, lengths = _padded(numbers)
        values = self.run({"source": source, "source_lengths": lengths}, self._encoder_stages)
        return {name: values[name] for name in self._memory}

    def _answer(self, found: Hypothesis, source_tokens: tuple[str, ...]) -> Translation:
        written = [*found.numbers, END][: len(found.attention)]
        text, tokens = self.encoders.target.decode(found.numbers), spell(self.encoders.target, written)
        return Translation(text, found.score, source_tokens, tokens, found.attention)

    def _check(self) -> None:
        """What a search needs of the stages of an untrusted file."""
        tokens = len(self.encoders.target)
        attending = [stage for stage in self._decoder_stages if stage.kind == "attend"]
        embedding = {name: stage for stage in self.stages if stage.kind == "embedding" for name in stage.inputs}
        if len(attending) != 1 or self.shapes[self.answer] != (BATCH, TARGET_STEPS, tokens):
            raise ModelFileError("the model file is damaged: its stages do not answer with one token a step")
        for name, encoder in zip(("source", "target"), self.encoders, strict=True):
            if name not in embedding or embedding[name].options.get("tokens") != len(encoder):
                raise ModelFileError(
                    f"the model file is damaged: the {name} has another number of tokens than its stage"
                )
        if not self._memory or any(self.shapes[name][0] != BATCH for name in self._memory):
            raise ModelFileError("the model file is damaged: its decoder does not read its encoder")


def _nothing() -> Translation:
    return Translation("", 0.0, ("</s>",), ("</s>",), np.ones((1, 1), np.float32))


def _batches(rows: Sequence[int], lengths: Sequence[int], beams: int) -> Iterator[list[int]]:
    """Rows of like length together, so many that a batch is neither slow nor large."""
    batch, longest = list[int](), 0
    for length, row in sorted(zip(lengths, rows, strict=True)):
        longest = max(longest, length)
        if batch and (len(batch) == _BATCH_SENTENCES or (len(batch) + 1) * longest * beams > _BATCH_STEPS):
            yield batch
            batch, longest = [], length
        batch.append(row)
    if batch:
        yield batch


def _padded(rows: Sequence[Row]) -> tuple[Array, Array]:
    """(B, T) with zeros behind each row, and the lengths (B,)."""
    lengths = np.array([len(row) for row in rows], np.int64)
    numbers = np.zeros((len(rows), int(lengths.max())), np.int64)
    for place, row in enumerate(rows):
        numbers[place, : len(row)] = row
    return numbers, lengths
