"""What ``lstmkit tune tag`` may try."""

from lstmkit.training import Choice

SEARCH = {
    "hidden_size": Choice(100, 200, 300),
    "num_layers": Choice(1, 2),
}
