"""The JSON text of a tokenizer, whoever made it, with all that reading and writing texts needs."""

import json
from typing import Any

from lstmkit.features.text_levels import SPECIALS

# Models of Hugging Face tokenizers, by what their tokens are; all others have pieces of any length.
_LEVELS = {"WordLevel": "word", "WordPiece": "wordpiece"}
# Splitters that count a space to the piece behind it.
_SPACED = ("ByteLevel", "Metaspace")


class Description:
    """A tokenizer's document, completed.

    Texts are never cut off or filled up, and always cut alike; there is a token for what is unknown; and pieces come
    together again where the document says how they came apart.

    Args:
        document: The text of a ``tokenizer.json``, which is not trusted: whatever is wrong ends in an exception.
    """

    def __init__(self, document: str) -> None:
        self.fields: dict[str, Any] = json.loads(document)
        self.fields |= {"truncation": None, "padding": None}
        model: dict[str, Any] = self.fields["model"]
        if model.get("dropout"):
            model["dropout"] = None
        self.unknown = _name_unknown(model)
        self.level = _LEVELS.get(model["type"], "bpe")
        self._splitters = _parts(self.fields.get("pre_tokenizer"))
        self.fields["decoder"] = self.fields.get("decoder") or _decoder(model, self._splitters)

    def to_json(self) -> str:
        """The text of the completed document."""
        return json.dumps(self.fields)

    @property
    def adds_space(self) -> bool:
        """Whether a text gets a space before it that it did not have."""
        return any(part["type"] == "ByteLevel" and part.get("add_prefix_space") for part in self._splitters)

    @property
    def writes(self) -> bool:
        """Whether tokens become text again; pieces do if it is known how to join them."""
        return self.level == "word" or self.fields["decoder"] is not None


def _name_unknown(model: dict[str, Any]) -> str:
    """The token for what is unknown; there is one from here on."""
    vocabulary: Any = model["vocab"]
    if model["type"] == "Unigram":
        names = [name for name, _ in vocabulary]
        if model.get("unk_id") is None:
            if SPECIALS[0] not in names:
                names.append(SPECIALS[0])
                # As improbable as the worst, so that all other texts are cut as before.
                vocabulary.append([SPECIALS[0], min((score for _, score in vocabulary), default=0.0)])
            model["unk_id"] = names.index(SPECIALS[0])
        return names[model["unk_id"]]
    model["unk_token"] = model.get("unk_token") or SPECIALS[0]
    vocabulary.setdefault(model["unk_token"], max(vocabulary.values(), default=-1) + 1)
    return model["unk_token"]


def _parts(splitter: Any) -> list[dict[str, Any]]:
    """A splitter, or those that it is made of."""
    if splitter is None:
        return []
    return (
        [part for one in splitter["pretokenizers"] for part in _parts(one)]
        if "pretokenizers" in splitter
        else [splitter]
    )


def _decoder(model: dict[str, Any], splitters: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What joins the pieces, as far as it can be known."""
    spaced = next((part for part in splitters if part["type"] in _SPACED), None)
    prefix = model.get("continuing_subword_prefix")
    if spaced is not None:
        return spaced
    if prefix:
        return {"type": "WordPiece", "prefix": prefix, "cleanup": True}
    if model.get("end_of_word_suffix"):
        return {"type": "BPEDecoder", "suffix": model["end_of_word_suffix"]}
    return None
