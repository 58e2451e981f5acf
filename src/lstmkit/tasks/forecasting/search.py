"""What ``lstmkit tune forecast`` may try. Not the history: scores are in units of the spread inside it."""

from lstmkit.training import Choice, Range

# What a trial goes without, unless it is asked for: comparisons with AutoETS.
WITHOUT = {"classical": 0}
SEARCH = {
    "hidden_size": Choice(32, 64, 128, 256),
    "num_layers": Choice(1, 2),
    "dropout": Range(0.0, 0.6),
    "batch_size": Choice(64, 128, 256),
    "learning_rate": Range(5e-4, 1e-2, log=True),
}
