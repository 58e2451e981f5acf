"""Tagged sentences as people read them and as files hold them."""

from collections.abc import Iterator
from typing import Any

from lstmkit.features import are_span_tags
from lstmkit.runtime import Tagged


def sentence_text(tagged: Tagged) -> str:
    """A sentence with its spans, each on a line of its own, or with a tag behind each word."""
    label = [] if tagged.label is None else [f"  {tagged.label}:"]
    if not all(tag == "O" for tag in tagged.tags) and not are_span_tags(tagged.tags):
        words = " ".join(f"{word.text}/{tag}" for word, tag in zip(tagged.words, tagged.tags, strict=True))
        return "\n".join([words, *label])
    entities = tagged.entities
    width = max((len(entity.label) for entity in entities), default=0)
    lines = [f"  {entity.label:<{width}}  {entity.start}-{entity.end}  {entity.text}" for entity in entities]
    return "\n".join([tagged.text, *label, *lines])


def sentence_object(number: int, tagged: Tagged) -> dict[str, Any]:
    """A sentence as one JSON object."""
    found: dict[str, Any] = {"sentence": number, "text": tagged.text}
    if tagged.label is not None:
        found["intent"] = tagged.label
    found["words"] = [word._asdict() | {"tag": tag} for word, tag in zip(tagged.words, tagged.tags, strict=True)]
    return found | {"entities": [entity._asdict() for entity in tagged.entities]}


def sentence_rows(number: int, tagged: Tagged, *, spans: bool) -> Iterator[dict[str, Any]]:
    """A row for each span, or for each word and its tag; every row repeats the label of the sentence.

    A sentence with a label and nothing else has a row with empty cells.
    """
    intent = {} if tagged.label is None else {"intent": tagged.label}
    rows: list[dict[str, Any]] = [entity._asdict() for entity in tagged.entities]
    if not spans:
        pairs = zip(tagged.words, tagged.tags, strict=True)
        rows = [{"start": word.start, "end": word.end, "label": tag, "text": word.text} for word, tag in pairs]
    if intent and not rows:
        rows = [{"start": None, "end": None, "label": None, "text": None}]
    for row in rows:
        yield {"sentence": number, **row, **intent}


def sentence_conll(tagged: Tagged) -> str:
    """A sentence as CoNLL has it, with an empty line behind."""
    label = [] if tagged.label is None else [f"# intent = {tagged.label}"]
    lines = [f"{word.text}\t{tag}" for word, tag in zip(tagged.words, tagged.tags, strict=True)]
    return "\n".join([*label, *lines, ""])
