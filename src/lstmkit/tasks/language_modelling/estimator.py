"""The language model that people call: text in; more text, and scores, out."""

import os
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from lstmkit.features import Level, Sampler, check_level
from lstmkit.runtime import LMModel
from lstmkit.runtime.lm_text import LEVELS, LanguageText
from lstmkit.spec import DataError, OptionError
from lstmkit.tasks.estimator import Estimator
from lstmkit.tasks.language_modelling.corpus import Corpus, Source, encode, learn_text, read_text
from lstmkit.tasks.language_modelling.evaluation import LanguageEvaluation
from lstmkit.tasks.language_modelling.recipes import choose_recipe

# Part of the text that is held back, and the shortest text that can be learned from.
_HELD, _FEWEST = 0.05, 20


class LanguageModel(Estimator):
    """A language model: it learns a text, writes on in its manner, and says how likely a text is.

    Args:
        level: What is foretold: ``"word"``, ``"bpe"`` (pieces of words) or ``"character"``; or the path of a
            ``tokenizer.json`` of Hugging Face tokenizers, whose tokens are foretold as they are.
        recipe: ``"default"`` suits the level; ``"small"`` is that of Zaremba et al. (2014), ``"awd"`` that of Merity et
            al. (2017), ``"word"``, ``"bpe"`` and ``"character"`` are the default ones.
        vocabulary_size: How many tokens at most; None: all words or characters, 8,000 pieces.
        min_count: Rarer words and characters are unknown ones.
        lowercase: Take upper and lower case for the same.
        split_punctuation: Words end at punctuation. Switch it off where spaces alone part words, as in the Penn
            Treebank and WikiText.
        embedding_size: Features of a token; None, here and below, leaves it to the recipe.
        hidden_size: Units of a layer.
        num_layers: Layers.
        dropout: Part of the features that is dropped.
        tied: Whether the same rows read tokens and foretell them.
        adaptive: Tokens that an adaptive softmax takes for frequent, for vocabularies of more than some 50,000; None
            is a full softmax.
        batch_size: Streams of text that are read side by side.
        steps: Tokens over which the gradient goes back.
        max_epochs: Passes over the text; a short text gets more.
        max_steps: Training steps.
        learning_rate: Highest learning rate.
        patience: Stop after so many validations in a row that were no better.
        validate_every: Steps between validations; None validates after each pass.
        time_limit: Minutes that training may take; None sets no limit.
        checkpoint: A file from which a killed training goes on.
        log: A file to which JSON lines about the training are appended.
        mixed_precision: ``"auto"`` takes ``"bf16"`` where the processor is faster with it; or ``"no"``.
        device: ``"cpu"`` or ``"cuda"``; None takes what is there.
        column: Column of the text where it comes in tables.
        encoding: Of the files.
        seed: Of the weights and of what is drawn in training.
        quiet: Print nothing.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> import io
        >>> text = io.StringIO("the cat sat on the mat\\n" * 50)
        >>> model = LanguageModel("character", hidden_size=16, max_steps=5, quiet=True).fit(text)
        >>> len(model.generate("the c", 7, seed=1))
        7
    """

    task = "lm"
    model_type = LMModel

    def __init__(
        self,
        level: Level = "word",
        *,
        recipe: str = "default",
        vocabulary_size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        split_punctuation: bool = True,
        embedding_size: int | None = None,
        hidden_size: int | None = None,
        num_layers: int | None = None,
        dropout: float | None = None,
        tied: bool | None = None,
        adaptive: int | None = None,
        batch_size: int | None = None,
        steps: int | None = None,
        max_epochs: int | None = None,
        max_steps: int | None = None,
        learning_rate: float | None = None,
        patience: int | None = None,
        validate_every: int | None = None,
        time_limit: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        log: str | os.PathLike[str] | None = None,
        mixed_precision: str | None = "auto",
        device: str | None = None,
        column: str = "text",
        encoding: str = "utf-8",
        seed: int = 0,
        quiet: bool = False,
    ) -> None:
        self.level = check_level(
            level,
            LEVELS,
            vocabulary_size=vocabulary_size is not None,
            min_count=min_count != 1,
            lowercase=lowercase,
            split_punctuation=not split_punctuation,
        )
        self.column, self.encoding = column, encoding
        self.recipe = choose_recipe(recipe, self.level if self.level in LEVELS else "bpe").changed(
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            tied=tied,
            streams=batch_size,
            steps=steps,
            epochs=max_epochs,
        )
        for name, count in (("vocabulary_size", vocabulary_size), ("min_count", min_count), ("adaptive", adaptive)):
            if count is not None and (type(count) is not int or count < 1):
                raise OptionError(f"{name} must be a whole number of at least 1, not {count!r}")
        self._vocabulary = {"size": vocabulary_size, "min_count": min_count, "lowercase": lowercase}
        if level == "word":
            self._vocabulary["split_punctuation"] = split_punctuation
        self.adaptive = adaptive
        super().__init__(
            {
                "max_epochs": max_epochs,
                "max_steps": max_steps,
                "learning_rate": learning_rate,
                "patience": patience,
                "validate_every": validate_every,
                "time_limit": time_limit,
                "checkpoint": checkpoint,
                "log": log,
                "mixed_precision": mixed_precision,
                "device": device,
                "seed": seed,
                "quiet": quiet,
            }
        )

    def fit(self, data: Source, *, validation: Source | None = None) -> Self:
        """Learn a text.

        Args:
            data: A text file, several, or an open text such as ``io.StringIO``. Files may be larger than memory. A name
                in ``.csv``, ``.tsv``, ``.json`` or ``.jsonl`` is a table, whose column ``column`` is the text.
            validation: Text to choose the best weights by; None holds back the last 5 % of ``data``.

        Returns:
            Itself, with the scores of the validation text in ``scores``.

        Raises:
            DataError: a file is missing, empty, binary or in another encoding, or the text is too short.
        """
        from lstmkit.tasks.language_modelling.fitting import as_model, train

        lines = read_text(data, self.column, self.encoding)
        text = learn_text(lines, self.level, **self._vocabulary)
        corpus = encode(text, lines())
        if len(corpus.tokens) < _FEWEST:
            raise DataError(f"a text of {len(corpus.tokens)} tokens is too short to learn from; give more text")
        tokens, judged = corpus.tokens, self._held_back(text, corpus, validation)
        if validation is None:
            tokens = tokens[: -len(judged.tokens)]
        cutoffs = _cutoffs(self.adaptive, len(text.encoder))
        network, result = train(self.recipe, text, tokens, judged.tokens, cutoffs=cutoffs, training=dict(self.training))
        document = {"lm": text.to_dict(), "training": {"stopped": result.stopped}}
        self._model = as_model(network, document)
        scores = LanguageEvaluation.of(float(self._model.surprise(judged.tokens).sum()), judged)
        self._model.document["scores"] = scores.to_dict()
        return self

    @property
    def validation(self) -> LanguageEvaluation:
        """The scores on the text that was held back in training, as :meth:`evaluate` gives them."""
        return LanguageEvaluation(**self.scores)

    def generate(
        self,
        prompt: str = "",
        length: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        beam: int | None = None,
        seed: int | None = None,
        precision: str = "float32",
    ) -> str:
        """Write what could follow a prompt; needs no torch.

        Args:
            prompt: What stands before; it is not repeated in the answer.
            length: Tokens to write.
            temperature: Below 1 safer, above 1 bolder; 0 always takes the most probable token.
            top_k: Draw from so many of the most probable tokens.
            top_p: Draw from the fewest tokens that have this probability together.
            beam: Search for the most probable text with so many continuations instead of drawing.
            seed: Repeats what was drawn.
            precision: ``"float32"``, or ``"bfloat16"`` and ``"int8"``, which are faster.

        Raises:
            OptionError: a value that cannot be.
        """
        if beam is not None:
            if (temperature, top_k, top_p, precision) != (1.0, None, None, "float32"):
                raise OptionError("a beam search draws nothing; leave temperature, top_k, top_p and precision out")
            return self.model.search(prompt, length, beam)
        return "".join(self.write(prompt, length, Sampler(temperature, top_k, top_p, seed), precision))

    def write(
        self, prompt: str = "", length: int = 200, sampler: Sampler | None = None, precision: str = "float32"
    ) -> Iterator[str]:
        """The same piece by piece, as it comes; see :meth:`lstmkit.runtime.LMModel.write`."""
        return self.model.write(prompt, length, sampler=sampler, precision=precision)

    def evaluate(self, data: Source, *, dynamic: bool = False) -> LanguageEvaluation:
        """Score a text, read as one from its start to its end.

        Args:
            data: As for :meth:`fit`.
            dynamic: Go on learning from the text while it is scored (Krause et al. 2018), which needs torch. The model
                stays as it was.

        Raises:
            DataError: a file is missing, empty, binary or in another encoding.
        """
        corpus = encode(self.model.text, read_text(data, self.column, self.encoding)())
        if dynamic:
            from lstmkit.tasks.language_modelling.dynamic import dynamic_surprise

            return LanguageEvaluation.of(dynamic_surprise(self.model, corpus.tokens), corpus, dynamic=True)
        return LanguageEvaluation.of(float(self.model.surprise(corpus.tokens).sum()), corpus)

    def score(self, texts: Sequence[str]) -> list[LanguageEvaluation]:
        """Score texts, each by itself.

        Args:
            texts: Texts of one or more lines.
        """
        if isinstance(texts, str):
            raise DataError("expected a list of texts, got one; put it into a list")
        text: LanguageText = self.model.text
        return [self._score(text, each) for each in texts]

    def _score(self, text: LanguageText, one: str) -> LanguageEvaluation:
        corpus = encode(text, one.splitlines() or [""])
        return LanguageEvaluation.of(float(self.model.surprise(corpus.tokens).sum()), corpus)

    def _held_back(self, text: LanguageText, corpus: Corpus, validation: Source | None) -> Corpus:
        if validation is not None:
            return encode(text, read_text(validation, self.column, self.encoding)())
        count = max(4, round(_HELD * len(corpus.tokens)))
        tokens = corpus.tokens[-count:]
        # The characters of the part are not counted apart: tokens are as long there as elsewhere.
        characters = max(1, round(corpus.characters * count / len(corpus.tokens)))
        return Corpus(tokens, characters, int((tokens == 0).sum()))

    @classmethod
    def _restore(cls, model: LMModel) -> Self:
        return cls(model.text.level)


def _cutoffs(frequent: int | None, tokens: int) -> list[int] | None:
    """Two groups of rare tokens behind the frequent ones, the first as large as they in the logarithm."""
    if frequent is None:
        return None
    if frequent >= tokens - 1:
        raise OptionError(f"adaptive={frequent} leaves no rare tokens of {tokens}; give fewer, or leave it out")
    middle = round(float(np.sqrt(frequent * tokens)))
    return [frequent] if middle <= frequent or middle >= tokens else [frequent, middle]
