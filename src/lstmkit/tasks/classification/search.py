"""What ``lstmkit tune classify`` may try."""

from lstmkit.training import Choice, Range

SEARCH = {
    "hidden_size": Choice(32, 64, 128),
    "dropout": Range(0.1, 0.7),
    "learning_rate": Range(1e-3, 1e-2, log=True),
}
