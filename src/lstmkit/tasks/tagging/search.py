"""What ``lstmkit tune tag`` may try."""

from lstmkit.training import Choice

SEARCH = {
    "hidden_size": Choice(64, 128, 200),
    "num_layers": Choice(1, 2),
}
