"""How good the tags are: accuracy, and spans as conlleval counts them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import tee
from typing import Any, TypeAlias

from lstmkit.data import Sentence, parts
from lstmkit.features import SpanScore, Vocabulary, are_span_tags, score_spans
from lstmkit.runtime import TagConfig, TagModel
from lstmkit.runtime.tag_config import word_key

Tags: TypeAlias = Sequence[str]


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


def evaluate_sentences(model: TagModel, sentences: Iterable[Sentence]) -> Evaluation:
    """Tag sentences, part by part, and judge what comes out."""
    counts, names = _Counts(model.config), model.config.tags.names
    scores = _types(names, counts.passing(_tagged(model, sentences)))
    spans = scores.pop("", None)
    return Evaluation(
        sentences=counts.sentences,
        words=counts.words,
        accuracy=counts.right / counts.words,
        unknown_words=counts.unknown,
        unknown_accuracy=counts.unknown_right / counts.unknown if counts.unknown else None,
        types=scores,
        spans=spans,
        intent_accuracy=counts.labels_right / counts.labels if counts.labels else None,
        unseen=dict(counts.unseen),
    )


def _tagged(model: TagModel, sentences: Iterable[Sentence]) -> Iterator[tuple[Sentence, Tags, str | None]]:
    for part in parts(sentences):
        tags, labels = model.tag_words([sentence.words for sentence in part])
        yield from zip(part, tags, labels, strict=True)


@dataclass
class _Counts:
    """What is counted while sentences pass."""

    config: TagConfig
    sentences: int = 0
    words: int = 0
    right: int = 0
    unknown: int = 0
    unknown_right: int = 0
    labels: int = 0
    labels_right: int = 0
    unseen: Counter[str] = field(default_factory=Counter[str])

    def passing(self, found: Iterable[tuple[Sentence, Tags, str | None]]) -> Iterator[tuple[Tags, Tags]]:
        """The tags that each sentence has, and those that were found."""
        for sentence, tags, label in found:
            self.sentences += 1
            for word, expected, own in zip(sentence.words, sentence.tags, tags, strict=True):
                self._count_word(word, expected, own)
            if self.config.labels is not None and sentence.label is not None:
                self.labels += 1
                self.labels_right += sentence.label == label
                self._count_unseen(self.config.labels, sentence.label)
            yield sentence.tags, tags

    def _count_word(self, word: str, expected: str, found: str) -> None:
        is_unknown, is_right = self.config.words.find(word_key(word)) is None, expected == found
        self.words += 1
        self.right += is_right
        self.unknown += is_unknown
        self.unknown_right += is_unknown and is_right
        self._count_unseen(self.config.tags, expected)

    def _count_unseen(self, known: Vocabulary, name: str) -> None:
        if known.find(name) is None:
            self.unseen[name] += 1


def _types(names: Sequence[str], pairs: Iterable[tuple[Tags, Tags]]) -> dict[str, SpanScore]:
    """Scores of spans by type, with ``""`` for all; or of tags. Expected and found ones come in pairs."""
    if are_span_tags(names):
        expected, found = tee(pairs)
        return score_spans((right for right, _ in expected), (judged for _, judged in found))
    wanted, given, both = Counter[str](), Counter[str](), Counter[str]()
    for right, judged in pairs:
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
