"""How good a translator is on pairs that it has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstmkit.data import Pairs, parts
from lstmkit.features import token_error_rate, word_error_rate
from lstmkit.runtime import TranslateModel
from lstmkit.tasks.translation.levels import PIECES
from lstmkit.tasks.translation.metrics import corpus_scores

_NAMES = {
    "pairs": "pairs",
    "word_error_rate": "answers with an error, %",
    "phone_error_rate": "errors per symbol, %",
    "bleu": "BLEU",
    "chrf": "chrF",
    "perplexity": "perplexity of a token",
}


@dataclass(frozen=True)
class Evaluation:
    """Scores on a set of pairs.

    Args:
        pairs: How many.
        perplexity: Of a target token, the end included.
        bleu: By sacreBLEU.
        chrf: By sacreBLEU.
        signature: How sacreBLEU counted.
        word_error_rate: Answers that are not exactly right; None where targets are sentences in pieces.
        phone_error_rate: Edits per target symbol; None alike.
        answers: What was written, one for each pair.

    Units:
        per cent, but for the perplexity
    """

    pairs: int
    perplexity: float
    bleu: float
    chrf: float
    signature: str
    word_error_rate: float | None = None
    phone_error_rate: float | None = None
    answers: tuple[str, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The scores that there are, by the field's names."""
        return {name: value for name, value in vars(self).items() if value is not None and name != "answers"}

    def __str__(self) -> str:
        return scores_text(self.to_dict())


def scores_text(scores: Mapping[str, Any]) -> str:
    """The scores of :meth:`Evaluation.to_dict` under each other."""
    width = max(len(name) for key, name in _NAMES.items() if key in scores)
    lines = [f"{name:<{width}}  {scores[key]:>9{_format(key)}}" for key, name in _NAMES.items() if key in scores]
    return "\n".join([*lines, f"BLEU is {scores['signature']}"])


def _format(key: str) -> str:
    return ",d" if key == "pairs" else ".2f"


def evaluate_pairs(
    model: TranslateModel, pairs: Pairs, answers: Sequence[str], level: str, *, lowercase: bool = False
) -> Evaluation:
    """Score answers that the model gave.

    Args:
        model: Gives the perplexity.
        pairs: What was read and what was expected.
        answers: What was written, one for each pair.
        level: Of the target's tokens.
        lowercase: Whether BLEU takes upper and lower case for the same.
    """
    total, tokens = 0.0, 0
    for part in parts(zip(pairs.sources, pairs.targets, strict=True)):
        logarithms, counts = model.log_probabilities(*map(list, zip(*part, strict=True)))
        total, tokens = total + float(logarithms.sum()), tokens + int(counts.sum())
    rates: dict[str, Any] = {}
    if level not in PIECES:
        encode = model.encoders.target.encode_many
        found, expected = ([one.tokens for one in encode(texts)] for texts in (answers, pairs.targets))
        rates = {
            "word_error_rate": word_error_rate(found, expected),
            "phone_error_rate": token_error_rate(found, expected),
        }
    return Evaluation(
        pairs=len(pairs.sources),
        perplexity=float(np.exp(-total / tokens)),
        **corpus_scores(answers, pairs.targets, lowercase=lowercase, symbols=level == "symbol"),
        **rates,
        answers=tuple(answers),
    )
