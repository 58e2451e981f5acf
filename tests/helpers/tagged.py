"""Sentences whose tags follow from endings and places."""

import random

TINY = {"hidden_size": 24, "word_size": 12, "batch_size": 16, "quiet": True, "device": "cpu"}
LETTERS = "bcdfgklmnprstvz"


def name(source: random.Random, ending: str) -> str:
    return source.choice(LETTERS).upper() + "".join(source.choices("aeiou" + LETTERS, k=3)) + ending


def draw_sentences(count: int, seed: int = 0) -> list[tuple[list[str], list[str], str]]:
    """People end in -son, places in -ville and may have two words; a question asks, anything else tells."""
    source = random.Random(seed)
    sentences = []
    for _ in range(count):
        words, tags = [name(source, "son")], ["B-person"]
        words += ["lives", "in"]
        tags += ["O", "O"]
        if source.random() < 0.5:
            words.append("New")
            tags.append("B-place")
        tags.append("I-place" if words[-1] == "New" else "B-place")
        words.append(name(source, "ville"))
        asks = source.random() < 0.5
        words.append("?" if asks else ".")
        tags.append("O")
        sentences.append((words, tags, "ask" if asks else "tell"))
    return sentences


def as_conll(sentences) -> str:
    blocks = [
        "\n".join([f"# intent = {label}", *(f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)), ""])
        for words, tags, label in sentences
    ]
    return "\n".join(blocks) + "\n"
