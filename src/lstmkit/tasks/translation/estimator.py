"""The translator that people call: pairs of texts in, translations and honest scores out."""

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lstmkit.data import Pairs, hold_out, parts, take
from lstmkit.features import Level
from lstmkit.runtime import Search, TranslateModel, Translation
from lstmkit.spec import DataError, ModelFileError, OptionError
from lstmkit.tasks.estimator import Estimator, check_weights
from lstmkit.tasks.translation.evaluation import Evaluation, evaluate_pairs
from lstmkit.tasks.translation.levels import LEVELS, Levels
from lstmkit.tasks.translation.model import Sizes

# A tenth of the pairs is held back, and no more than these.
_MOST_JUDGED = 1000


class Translator(Estimator):
    """Translate sentences, spell words in sounds, inflect them: one sequence into another, by an LSTM with attention.

    Args:
        level: How texts are cut into tokens: ``"bpe"`` (pieces of words), ``"word"``, ``"character"``, ``"letter"``
            (letters and marks apart), ``"symbol"`` (what stands between spaces, as phones do) or ``"wordpiece"``; or
            the path of a ``tokenizer.json`` of Hugging Face tokenizers, which is taken as it is. None looks at each
            side: letters of single words, symbols where there are few and short ones, else ``"bpe"``.
        source_level: Of the source, where it differs.
        target_level: Of the target, where it differs.
        size: Tokens of a vocabulary; None is all words and characters, 8,000 pieces.
        joint: Whether source and target share a vocabulary.
        lowercase: Whether upper and lower case are the same to the model.
        embedding_size: Features of a token.
        hidden_size: Units of each LSTM layer and direction.
        num_layers: Layers of the encoder.
        attention: ``"multiplicative"`` (Luong et al. 2015), which is faster, or ``"additive"`` (Bahdanau et al. 2015).
        dropout: Part of the values between layers that is dropped in training.
        label_smoothing: Part of each target token that is spread over all tokens in training.
        consistency: How much it counts in training that two readings of a pair, each with other values dropped, agree
            (Liang et al. 2021, who take 5); 0 reads once, which is twice as fast.
        max_steps: Training steps.
        batch_size: Pairs of a training step.
        learning_rate: Highest learning rate.
        patience: Stop when so many of the twenty validations in a row were no better; None never does.
        time_limit: Minutes that training may take; None sets no limit.
        checkpoint: A file from which a killed training goes on.
        log: A file to which JSON lines about the training are appended.
        mixed_precision: ``"auto"`` takes ``"bf16"`` where the processor is faster with it; or ``"no"``.
        device: ``"cpu"`` or ``"cuda"``; None takes what is there.
        seed: Of the weights and the batches.
        quiet: Print nothing.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> numbers = {"1": "one", "2": "two", "3": "three"}
        >>> sources = [f"{a} {b}" for a in numbers for b in numbers] * 4
        >>> targets = [" ".join(numbers[digit] for digit in reversed(source.split())) for source in sources]
        >>> translator = Translator(level="word", hidden_size=16, max_steps=150, dropout=0.1, quiet=True)
        >>> translator.fit(sources, targets).predict(["1 2", "3 1"])
        ['two one', 'one three']
    """

    task = "translate"
    model_type = TranslateModel

    def __init__(
        self,
        *,
        level: Level | None = None,
        source_level: Level | None = None,
        target_level: Level | None = None,
        size: int | None = None,
        joint: bool = False,
        lowercase: bool = False,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        attention: str = "multiplicative",
        dropout: float = 0.3,
        label_smoothing: float = 0.1,
        consistency: float = 0.0,
        max_steps: int = 5000,
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
        super().__init__(
            {
                "max_steps": max_steps,
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
        counts = {"embedding_size": embedding_size, "hidden_size": hidden_size, "num_layers": num_layers}
        _check_counts(**counts, batch_size=batch_size)
        _check_parts(dropout=dropout, label_smoothing=label_smoothing)
        given = source_level or level, target_level or level
        source, target = (os.fspath(each) if isinstance(each, os.PathLike) else each for each in given)
        self.levels = Levels(source, target, size, joint, lowercase)
        self.sizes = Sizes(**counts, attention=attention, dropout=dropout)
        check_weights(consistency=consistency)
        self.batch_size, self.label_smoothing, self.consistency = batch_size, label_smoothing, consistency

    def fit(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        validation: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> Self:
        """Train on pairs of texts.

        Pairs that are held back choose the weights and give the scores; they are never learned from.

        Args:
            sources: What is read. Pairs of files larger than memory come from :func:`lstmkit.data.read_pairs` or
                :func:`lstmkit.data.read_parallel`.
            targets: What is to be written, one for each source. Pairs with an empty side are left out.
            validation: Sources and targets to hold back; None draws a tenth of the pairs, 1,000 at most.

        Raises:
            DataError: the pairs cannot be learned from.
            MissingExtraError: torch or another package of the extra ``text`` is missing.
        """
        from lstmkit.tasks.translation.fitting import Recipe, fit_model
        from lstmkit.training import TrainingConfig

        training, judged = _split(_pairs(sources, targets), validation, self.training["seed"])
        self.levels = self.levels.chosen(training.sources, training.targets)
        recipe = Recipe(
            levels=self.levels,
            sizes=self.sizes,
            training=TrainingConfig(
                schedule="one_cycle", warmup_fraction=0.1, weight_decay=0.01, averaging=0.999, **self.training
            ),
            batch_size=self.batch_size,
            label_smoothing=self.label_smoothing,
            consistency=self.consistency,
        )
        self._model = fit_model(recipe, training, judged)
        if judged is not None and not self.interrupted:
            self._model.document["scores"] = self._evaluate(judged, Search()).to_dict()
        return self

    def predict(self, sources: Sequence[str], *, beam: int = 5, **search: Any) -> list[str]:
        """The best answer to each text; an empty text has an empty one.

        Args:
            sources: Texts.
            beam: Answers that are followed side by side; 1 is greedy and fastest.
            search: ``length_penalty`` and ``coverage_penalty`` of :class:`lstmkit.runtime.Search`.

        Raises:
            OptionError: an option that cannot be.
        """
        return [answers[0].text for answers in self.translations(sources, beam=beam, **search)]

    def translations(
        self, sources: Sequence[str], *, beam: int = 5, n_best: int = 1, **search: Any
    ) -> list[list[Translation]]:
        """The ``n_best`` answers to each text, with scores, tokens and attention; otherwise as :meth:`predict`."""
        if isinstance(sources, str):
            raise OptionError("expected a list of texts, got one text; put it into brackets")
        return self.model.translate(sources, Search(beam, n_best, **search))

    def evaluate(
        self, sources: Sequence[str], targets: Sequence[str], *, beam: int = 5, lowercase: bool = False, **search: Any
    ) -> Evaluation:
        """Score the model's translations.

        Args:
            sources: What is read.
            targets: What is expected, one for each source.
            beam: As in :meth:`predict`.
            lowercase: Whether BLEU takes upper and lower case for the same.
            search: As in :meth:`predict`.

        Raises:
            DataError: there are no pairs, or not as many targets as sources.
        """
        return self._evaluate(_pairs(sources, targets), Search(beam, **search), lowercase)

    def _evaluate(self, pairs: Pairs, search: Search, lowercase: bool = False) -> Evaluation:
        answers = [found[0].text for part in parts(pairs.sources) for found in self.model.translate(part, search)]
        return evaluate_pairs(self.model, pairs, answers, _levels(self.model)[1], lowercase=lowercase)

    @classmethod
    def _restore(cls, model: TranslateModel) -> Self:
        source, target = _levels(model)
        return cls(source_level=source, target_level=target)


def _levels(model: TranslateModel) -> list[str]:
    """How source and target are cut into tokens."""
    described = model.document.get("translation")
    levels = described.get("levels") if isinstance(described, dict) else None
    if not isinstance(levels, list) or len(levels) != 2 or not all(level in LEVELS for level in levels):
        raise ModelFileError("the model file is damaged: it does not say how its texts are cut into tokens")
    return levels


def _pairs(sources: Sequence[str], targets: Sequence[str]) -> Pairs:
    """What was given, checked; pairs with an empty side are left out."""
    for name, texts in (("sources", sources), ("targets", targets)):
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"expected {name} to be a list of texts")
    if len(sources) != len(targets):
        raise DataError(f"expected a target for each source, got {len(sources):,} sources and {len(targets):,} targets")
    filled = [bool(source.strip() and target.strip()) for source, target in zip(sources, targets, strict=True)]
    if not any(filled):
        raise DataError("there is no pair of a source and a target; give texts that are not empty")
    return _chosen(Pairs(sources, targets, len(sources) - sum(filled)), np.flatnonzero(filled))


def _chosen(pairs: Pairs, rows: NDArray[np.int64]) -> Pairs:
    return Pairs(take(pairs.sources, rows), take(pairs.targets, rows), pairs.empty)


def _split(
    pairs: Pairs, validation: tuple[Sequence[str], Sequence[str]] | None, seed: int
) -> tuple[Pairs, Pairs | None]:
    """Pairs that train, and those that judge, if there are any."""
    if validation is not None:
        return pairs, _pairs(*validation)
    count = len(pairs.sources)
    training, judging = hold_out(count, min(0.1, _MOST_JUDGED / count), seed)
    return _chosen(pairs, training), _chosen(pairs, judging) if len(judging) else None


def _check_counts(**counts: object) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OptionError(f"{name} must be a whole number of at least 1, not {value!r}")


def _check_parts(**parts: object) -> None:
    for name, value in parts.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise OptionError(f"{name} must be a number from 0 to below 1, not {value!r}")
