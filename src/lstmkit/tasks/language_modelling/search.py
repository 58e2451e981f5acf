"""What ``lstmkit tune lm`` may try; None is what the recipe has. Not the vocabulary: scores are nats of a token."""

from lstmkit.training import Choice

SEARCH = {
    "embedding_size": Choice(None, 100, 200, 400),
    "hidden_size": Choice(None, 200, 400, 650),
    "layers": Choice(None, 1, 2, 3),
    "dropout": Choice(None, 0.1, 0.25, 0.4, 0.55),
    "streams": Choice(None, 16, 32, 64),
}
