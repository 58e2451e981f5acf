"""Small untrained language models with random weights, on both sides of the file."""

from helpers.models import randomise

from lstmkit.features import TextEncoder
from lstmkit.runtime import LMModel
from lstmkit.runtime.lm_text import LanguageText
from lstmkit.tasks.language_modelling.fitting import as_model
from lstmkit.tasks.language_modelling.network import LanguageNetwork, language_stages
from lstmkit.tasks.language_modelling.recipes import Recipe

LINES = ["the cat sat on the mat", "", "ein Hund, der bellt", "日本 é ok"]
SMALL = Recipe(embedding_size=5, hidden_size=7, streams=3, steps=4, epochs=1)
SHAPES = {
    "tied": ({"tied": True}, None),
    "tied-same-size": ({"tied": True, "embedding_size": 7}, None),
    "untied": ({"tied": False}, None),
    "adaptive": ({}, [6, 9]),
    "one-layer": ({"num_layers": 1, "tied": False}, None),
}


def language_text(level: str = "word", lines: list[str] = LINES) -> LanguageText:
    """A vocabulary learned from a few lines."""
    whole = [line + "\n" for line in lines] if level == "character" else lines
    return LanguageText(level, TextEncoder.train(whole, level, size=280 if level == "bpe" else None))


def language_network(shape: str = "tied", tokens: int = 16, seed: int = 0, **changes) -> LanguageNetwork:
    """A network with random weights, in evaluation mode."""
    options, cutoffs = SHAPES[shape]
    network = LanguageNetwork(language_stages(SMALL.changed(**{**options, **changes}), tokens, cutoffs), 3)
    randomise(network.model, seed)
    return network.eval()


def language_model(shape: str = "tied", level: str = "word", seed: int = 0) -> LMModel:
    """The same as a loaded file."""
    text = language_text(level)
    return as_model(language_network(shape, len(text.encoder), seed), {"lm": text.to_dict()})
