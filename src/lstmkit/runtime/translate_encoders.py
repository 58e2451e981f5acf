"""The two vocabularies of a translator, which may be one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from numpy.typing import NDArray

from lstmkit.features import END, TextEncoder
from lstmkit.spec import ModelFileError

Row = Sequence[int] | NDArray[Any]


class Numbered(NamedTuple):
    """Pairs as numbers, each side with its end."""

    sources: Sequence[Row]
    targets: Sequence[Row]


class Encoders(NamedTuple):
    """How sources and targets are cut into tokens."""

    source: TextEncoder
    target: TextEncoder

    def number(self, sources: Sequence[str], targets: Sequence[str]) -> Numbered:
        """Pairs of texts as numbers."""
        return Numbered(number_texts(self.source, sources), number_texts(self.target, targets))

    def to_list(self) -> list[str]:
        """What a model file keeps: one text where both are the same."""
        return [encoder.to_json() for encoder in dict.fromkeys(self)]

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read them from an untrusted document.

        Raises:
            ModelFileError: they are not there, or one is damaged.
        """
        described = document.get("tokenizers")
        if not isinstance(described, list) or len(described) not in (1, 2):  # pyright: ignore[reportUnknownArgumentType]
            raise ModelFileError("the model file is damaged: it lists no tokenizers of source and target")
        found = [TextEncoder.from_json(one) for one in described]  # pyright: ignore[reportUnknownVariableType]
        return cls(found[0], found[-1])


def number_texts(encoder: TextEncoder, texts: Sequence[str]) -> list[list[int]]:
    """Texts as numbers, each with its end."""
    return [[*one.numbers, END] for one in encoder.encode_many(texts)]


def spell(encoder: TextEncoder, numbers: Sequence[int]) -> tuple[str, ...]:
    """Tokens as a person reads them."""
    return tuple(encoder.decode([number]) or encoder.token(number) for number in numbers)
