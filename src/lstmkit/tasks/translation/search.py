"""What ``lstmkit tune translate`` may try. Not the vocabulary: scores are nats of a token, whatever a token is."""

from lstmkit.training import Choice, Range

SEARCH = {
    "hidden_size": Choice(128, 256, 384),
    "embedding_size": Choice(128, 256),
    "num_layers": Choice(1, 2),
    "attention": Choice("multiplicative", "additive"),
    "dropout": Range(0.1, 0.5),
    "batch_size": Choice(32, 64, 128),
}
