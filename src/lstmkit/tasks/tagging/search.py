"""What ``lstmkit tune tag`` may try."""

from lstmkit.training import Choice, Range

SEARCH = {
    "hidden_size": Choice(64, 128, 200),
    "num_layers": Choice(1, 2),
    "dropout": Range(0.2, 0.7),
    "batch_size": Choice(16, 32, 64),
    "learning_rate": Range(5e-4, 1e-2, log=True),
}
