"""The tagger that people call: sentences in, tags, spans and labels out."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from lstmkit.data import Sentence, hold_out, parts, read_lines, take
from lstmkit.data.conll import column_number, is_conllu
from lstmkit.features import Vocabulary
from lstmkit.runtime import TagConfig, Tagged, TagModel
from lstmkit.runtime.tag_config import UNKNOWN, word_key
from lstmkit.spec import OptionError
from lstmkit.tasks.estimator import Estimator, check_weights
from lstmkit.tasks.tagging.conllu import conllu_lines, retag_lines, tag_column
from lstmkit.tasks.tagging.evaluation import Evaluation, evaluate_sentences
from lstmkit.tasks.tagging.model import Sizes
from lstmkit.tasks.tagging.sentences import Data, read_sentences, read_untagged

_EPOCHS, _FEWEST_STEPS, _VALIDATIONS = 20, 400, 20
_READ_TOGETHER = 1024


class Tagger(Estimator):
    """Tag words with a bidirectional LSTM over words and characters and a CRF; label sentences beside it.

    The same serves parts of speech, entities (tags such as ``B-place``, ``I-place``, ``O``), and slots with the intent
    of the sentence. Where tags mark spans, only sequences of tags that make sense come out.

    Args:
        column: Where files have the tags: a number from 1, a name of CoNLL-U (``"upos"``) or ``"last"``.
        crf: Judge the tags of a sentence together.
        lowercase: Read everything in lower case, for texts whose capitals mean nothing.
        min_count: Words that training has less often share the row of unknown words; their characters are read.
        word_size: Features of a word's row.
        hidden_size: Units of the LSTM over words, per direction.
        num_layers: Layers of that.
        dropout: Part of its inputs and outputs that is dropped in training.
        language_modelling: How much it counts in training that each word foretells the next one and the one before
            (Rei 2017), which finds more of the words that training never had; 0 saves its time.
        max_epochs: Passes over the sentences; None takes 20, and more where these are few.
        batch_size: Sentences of a training step.
        learning_rate: Highest learning rate.
        patience: Stop when so many of the twenty validations in a row were no better; None never does.
        time_limit: Minutes that training may take; None sets no limit.
        checkpoint: A file from which a killed training goes on.
        log: A file to which JSON lines about the training are appended.
        mixed_precision: ``"auto"`` takes ``"bf16"`` where the processor is faster with it; or ``"no"``.
        device: ``"cpu"`` or ``"cuda"``; None takes what is there.
        seed: Of the weights and the order of the sentences.
        quiet: Print nothing.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> sentences = [(["Ann", "lives", "in", "Rome"], ["B-person", "O", "O", "B-place"])] * 20
        >>> tagger = Tagger(hidden_size=16, max_epochs=60, quiet=True).fit(sentences)
        >>> [entity.text for entity in tagger.predict(["Ann lives in Rome"])[0].entities]
        ['Ann', 'Rome']
    """

    task, model_type = "tag", TagModel

    def __init__(
        self,
        column: str | int = "last",
        *,
        crf: bool = True,
        lowercase: bool = False,
        min_count: int = 2,
        word_size: int = 100,
        hidden_size: int = 128,
        num_layers: int = 1,
        dropout: float = 0.5,
        language_modelling: float = 0.1,
        max_epochs: int | None = None,
        batch_size: int = 32,
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
        column_number(column)
        _check_counts(
            min_count=min_count,
            word_size=word_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            batch_size=batch_size,
        )
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise OptionError(f"dropout must be a number from 0 to below 1, not {dropout!r}")
        check_weights(language_modelling=language_modelling)
        self.language_modelling = language_modelling
        if max_epochs is not None:
            _check_counts(max_epochs=max_epochs)
        self.max_epochs = max_epochs
        self.column, self.lowercase, self.min_count, self.batch_size = column, lowercase, min_count, batch_size
        self.judged: Evaluation | None = None
        self.sizes = Sizes(
            word_size=word_size, hidden_size=hidden_size, num_layers=num_layers, dropout=dropout, crf=crf
        )

    def fit(self, data: Data, *, validation: Data | None = None, encoding: str = "utf-8") -> Self:
        """Train on sentences.

        Args:
            data: The path of a CoNLL or CoNLL-U file, or several, which may be larger than memory; or sentences, each
                (words, tags) or (words, tags, label).
            validation: More of the same, to judge by and never learn from. None holds a tenth of the sentences back.
            encoding: Of files.

        Raises:
            DataError: the sentences cannot be learned from.
            MissingExtraError: torch or another package of the extra ``text`` is missing.
        """
        sentences = read_sentences(data, self.column, encoding)
        if validation is None:
            kept, held = hold_out(len(sentences), seed=self.training["seed"])
            sentences, judged = take(sentences, kept), take(sentences, held)
        else:
            judged = read_sentences(validation, self.column, encoding)
        self._model = self._trained(sentences, judged)
        if judged:
            self.judged = evaluate_sentences(self.model, judged)
            self.model.document["scores"] = self.judged.to_dict()
        return self

    def _trained(self, sentences: Sequence[Sentence], judged: Sequence[Sentence]) -> TagModel:
        from lstmkit.tasks.tagging.fitting import Recipe, fit_model
        from lstmkit.training import TrainingConfig

        steps = -(-len(sentences) // self.batch_size)
        epochs = self.max_epochs or max(_EPOCHS, -(-_FEWEST_STEPS // steps))
        training = TrainingConfig(
            max_epochs=epochs,
            validate_every=max(1, steps * epochs // _VALIDATIONS),
            weight_decay=0.01,
            averaging=0.998,
            **self.training,
        )
        recipe = Recipe(self._config(sentences), self.sizes, training, self.batch_size, self.language_modelling)
        return fit_model(recipe, sentences, judged)

    def _config(self, sentences: Sequence[Sentence]) -> TagConfig:
        """What the training sentences have."""
        labels = Counter(sentence.label for sentence in sentences if sentence.label is not None)
        empty = Vocabulary([UNKNOWN])
        config = TagConfig(
            tags=Vocabulary.count(tag for sentence in sentences for tag in sentence.tags),
            words=Vocabulary.count(map(word_key, _words(sentences)), [UNKNOWN], min_count=self.min_count),
            characters=empty,
            labels=Vocabulary.count(labels.elements()) if labels else None,
            lowercase=self.lowercase,
            column=self.column,
        )
        spelled = (character for word in _words(sentences) for character in config.spelling(word))
        characters = Vocabulary.count(spelled, [UNKNOWN], min_count=2)
        return TagConfig(**{**vars(config), "characters": characters})

    def predict(self, sentences: Iterable[str | Sequence[str]]) -> list[Tagged]:
        """Tag sentences.

        Args:
            sentences: Each a text, or the list of its words.

        Returns:
            For each its words with their places in the text, their tags, ``entities`` where tags mark spans, and its
            label where the model gives one.

        Raises:
            DataError: a word is empty or no text.
        """
        return self.model.predict(sentences)

    def predict_file(self, path: str | os.PathLike[str], *, encoding: str = "utf-8") -> Iterator[Tagged]:
        """Tag the sentences of a file as they are read; it may be larger than memory.

        Args:
            path: ``.txt`` has one text a line; else it is CoNLL or CoNLL-U, of which only the words are read.
            encoding: Of the file.

        Returns:
            The sentences in order; an empty line of a text gives one without words.

        Raises:
            DataError: the file cannot be read.
        """
        sentences = read_untagged(path, self.model.split, self.column, encoding)
        for part in parts(sentences, _READ_TOGETHER):
            yield from self.model.tag(part)

    def conllu_lines(self, path: str | os.PathLike[str], *, encoding: str = "utf-8") -> Iterator[str]:
        """Tag the sentences of a file, as :meth:`predict_file` does, as lines of CoNLL-U.

        Of CoNLL-U all comes back but the tags, and the label where the model gives one; of other files there are words
        and tags, and whether a space was behind a word.

        Args:
            path: The file.
            encoding: Of the file.

        Returns:
            Lines without their ends; each sentence ends in an empty one.

        Raises:
            DataError: the file cannot be read.
        """
        sentences, column = self.predict_file(path, encoding=encoding), tag_column(self.column)
        if is_conllu(path, self.column) and Path(path).suffix.lower() != ".txt":
            return retag_lines(read_lines(path, encoding), sentences, column)
        return conllu_lines(sentences, column)

    def evaluate(self, data: Data, *, encoding: str = "utf-8") -> Evaluation:
        """Score the model on sentences with tags, given as to :meth:`fit`.

        Raises:
            DataError: the sentences cannot be read.
        """
        return evaluate_sentences(self.model, read_sentences(data, self.column, encoding))

    @classmethod
    def _restore(cls, model: TagModel) -> Self:
        return cls(model.config.column, lowercase=model.config.lowercase)


def _words(sentences: Iterable[Sentence]) -> Iterator[str]:
    return (word for sentence in sentences for word in sentence.words)


def _check_counts(**counts: object) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise OptionError(f"{name} must be a whole number of at least 1, not {value!r}")
