"""How well a language model foretells a text."""

from dataclasses import asdict, dataclass
from math import exp, log
from typing import Any

from lstmkit.tasks.language_modelling.corpus import Corpus


@dataclass(frozen=True)
class LanguageEvaluation:
    """Scores of a text; all say the same in other units.

    Args:
        nats_per_token: Mean of minus the logarithm of each token's probability.
        perplexity: The number of tokens that it hesitates between: ``exp(nats_per_token)``.
        bits_per_character: The size of the text, were it compressed with the model.
        tokens: Tokens of the text, ends of lines included.
        characters: Characters of the text, ends of lines included.
        unknown: Tokens that the vocabulary does not have, and those written ``<unk>``; all count as that one token.
        dynamic: Whether the model went on learning from the text while it was scored.
    """

    nats_per_token: float
    perplexity: float
    bits_per_character: float
    tokens: int
    characters: int
    unknown: int
    dynamic: bool = False

    @classmethod
    def of(cls, nats: float, corpus: Corpus, *, dynamic: bool = False) -> "LanguageEvaluation":
        """From the sum of the nats of all tokens."""
        count = len(corpus.tokens)
        return cls(
            nats_per_token=nats / count,
            perplexity=perplexity(nats / count),
            bits_per_character=nats / log(2) / corpus.characters,
            tokens=count,
            characters=corpus.characters,
            unknown=corpus.unknown,
            dynamic=dynamic,
        )

    def to_dict(self) -> dict[str, Any]:
        """The scores by name."""
        return asdict(self)

    def __str__(self) -> str:
        part = 100 * self.unknown / self.tokens
        lines = [
            f"perplexity          {self.perplexity:,.2f}",
            f"bits per character  {self.bits_per_character:.3f}",
            f"nats per token      {self.nats_per_token:.4f}",
            f"tokens              {self.tokens:,} ({self.characters:,} characters)",
            f"unknown tokens      {self.unknown:,} ({part:.2g} %)",
        ]
        return "\n".join(lines + ["dynamic evaluation: learned from the text while it was scored"] * self.dynamic)


def perplexity(nats: float) -> float:
    """``exp``, or infinity where that is too large for a number."""
    return exp(nats) if nats < 700 else float("inf")
