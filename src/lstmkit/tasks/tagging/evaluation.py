"""How good the tags are: accuracy, and spans as conlleval counts them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lstmkit.data import Sentence
from lstmkit.features import SpanScore, are_span_tags, score_spans
from lstmkit.runtime import TagModel
from lstmkit.runtime.tag_config import word_key


@dataclass(frozen=True)
class Evaluation:
    """Scores of a tagger, 0 to 1.

    Args:
        sentences: How many were judged.
        words: How many words these have.
        accuracy: Part of the words whose tag is right.
        unknown_words: How many words have no row of their own, because training had them too seldom or never.
        unknown_accuracy: Part of these whose tag is right; None where there are none.
        types: For spans the score of each type, for other tags that of each tag.
        spans: The score of all spans together, where tags mark spans.
        intent_accuracy: Part of the sentences whose label is right, where there are labels.
        unseen: Tags and labels that were not in the training data, so that they cannot be right, and how often they
            were asked for.
    """

    sentences: int
    words: int
    accuracy: float
    unknown_words: int
    unknown_accuracy: float | None
    types: dict[str, SpanScore]
    spans: SpanScore | None = None
    intent_accuracy: float | None = None
    unseen: dict[str, int] | None = None

    @property
    def loss(self) -> float:
        """What training makes small: the part that is wrong, of spans or words, and of the labels if there are any."""
        wrong = 1 - (self.accuracy if self.spans is None else self.spans.f1)
        return wrong if self.intent_accuracy is None else (wrong + 1 - self.intent_accuracy) / 2

    def to_dict(self) -> dict[str, Any]:
        """Scores by their plain names, as ``--json`` prints them."""
        counts = {"sentences": self.sentences, "words": self.words, "unknown_words": self.unknown_words}
        found: dict[str, Any] = {"accuracy": self.accuracy, "unknown_accuracy": self.unknown_accuracy}
        if self.spans is not None:
            found |= {name: getattr(self.spans, name) for name in ("precision", "recall", "f1")}
        if self.intent_accuracy is not None:
            found["intent_accuracy"] = self.intent_accuracy
        types = {name: score._asdict() for name, score in self.types.items()}
        return {**found, **counts, "types": types, "unseen": self.unseen or {}}

    def __str__(self) -> str:
        return evaluation_text(self)


def evaluate_sentences(model: TagModel, sentences: Sequence[Sentence]) -> Evaluation:
    """Tag sentences and judge what comes out."""
    tags, labels = model.tag_words([sentence.words for sentence in sentences])
    return judge(model, sentences, tags, labels)


def judge(
    model: TagModel, sentences: Sequence[Sentence], tags: Sequence[Sequence[str]], labels: Sequence[str | None]
) -> Evaluation:
    """Scores of tags and labels that were found."""
    config = model.config
    rows = [
        (expected == found, config.words.find(word_key(word)) is None, expected, found)
        for sentence, own in zip(sentences, tags, strict=True)
        for word, expected, found in zip(sentence.words, sentence.tags, own, strict=True)
    ]
    unknown = [right for right, is_unknown, *_ in rows if is_unknown]
    expected = [sentence.tags for sentence in sentences]
    scores = _types(config.tags.names, expected, tags)
    spans = scores.pop("", None)
    labelled = [(one.label, label) for one, label in zip(sentences, labels, strict=True) if one.label is not None]
    unseen = Counter(tag for _, _, tag, _ in rows if config.tags.find(tag) is None)
    if config.labels is not None:
        unseen.update(label for label, _ in labelled if config.labels.find(label) is None)
    return Evaluation(
        sentences=len(sentences),
        words=len(rows),
        accuracy=sum(right for right, *_ in rows) / len(rows),
        unknown_words=len(unknown),
        unknown_accuracy=sum(unknown) / len(unknown) if unknown else None,
        types=scores,
        spans=spans,
        intent_accuracy=_part_right(labelled) if config.labels is not None and labelled else None,
        unseen=dict(unseen),
    )


def _part_right(pairs: Sequence[tuple[str, str | None]]) -> float:
    return sum(expected == found for expected, found in pairs) / len(pairs)


def _types(
    names: Sequence[str], expected: Sequence[Sequence[str]], found: Sequence[Sequence[str]]
) -> dict[str, SpanScore]:
    """Scores of spans by type, with ``""`` for all; or of tags."""
    if are_span_tags(names):
        return score_spans(expected, found)
    wanted, given, both = Counter[str](), Counter[str](), Counter[str]()
    for right, judged in zip(expected, found, strict=True):
        wanted.update(right)
        given.update(judged)
        both.update(a for a, b in zip(right, judged, strict=True) if a == b)
    return {name: SpanScore.of(wanted[name], given[name], both[name]) for name in sorted({*wanted, *given})}


def evaluation_text(found: Evaluation) -> str:
    """The evaluation as a person reads it, in per cent."""
    name = "type" if found.spans is not None else "tag"
    width = max(len(name), len("all spans"), *map(len, found.types))
    lines = [f"{name:<{width}}  precision  recall     F1  count"] if found.types else []
    whole = [] if found.spans is None else [("all spans", found.spans)]
    for title, one in (*found.types.items(), *whole):
        precision, recall, f1 = map(_percent, one[:3])
        lines.append(f"{title:<{width}}  {precision:>9}  {recall:>6}  {f1:>5}  {one.support:>5,}")
    lines.append("")
    lines.append(f"accuracy of {found.words:,} words in {found.sentences:,} sentences: {_percent(found.accuracy)} %")
    if found.unknown_accuracy is not None:
        lines.append(f"of {found.unknown_words:,} rare and new words among them: {_percent(found.unknown_accuracy)} %")
    if found.intent_accuracy is not None:
        lines.append(f"accuracy of the sentences' labels: {_percent(found.intent_accuracy)} %")
    if found.unseen:
        named = ", ".join(f"{tag} ({count:,})" for tag, count in sorted(found.unseen.items()))
        lines.append(f"never seen in training, counted as errors: {named}")
    return "\n".join(lines)


def _percent(part: float) -> str:
    return f"{100 * part:.1f}"
