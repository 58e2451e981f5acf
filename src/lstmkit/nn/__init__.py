"""Floor 3: torch.nn layers."""

from lstmkit.nn.lstm import LSTM, Trace

__all__ = ["LSTM", "Trace"]
