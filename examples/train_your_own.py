"""Train a network of your own with the toolkit's loop: which of two numbers did the sequence start with?

The network must carry one bit over 30 steps of noise. Run it with ``python examples/train_your_own.py``;
it takes a few seconds and writes nothing.
"""

import torch
from torch import Tensor, nn

from lstmkit.training import TrainingConfig, fit

Batch = tuple[Tensor, Tensor]


class Recall(nn.Module):
    """Reads a sequence and answers once, at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size=1, hidden_size=16, batch_first=True)
        self.head = nn.Linear(16, 1)
        nn.init.constant_(self.lstm.bias_hh_l0[16:32], 2.0)  # gates in order i, f, g, o: begin by remembering

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, 1) -> one logit per sequence (B,)."""
        return self.head(self.lstm(x)[0][:, -1]).squeeze(-1)


def sequences(count: int, seed: int) -> Batch:
    """Noise after a first value of -1 or 1, and whether it was 1."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (count,), generator=generator).float()
    x = 0.3 * torch.randn(count, 30, 1, generator=generator)
    x[:, 0, 0] = 2 * label - 1
    return x, label


def loss(module: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of one batch."""
    x, label = batch
    return nn.functional.binary_cross_entropy_with_logits(module(x), label)


def main() -> None:
    """Train, then count the right answers on new sequences."""
    torch.manual_seed(0)
    module = Recall()
    x, label = sequences(512, seed=1)
    unseen = sequences(256, seed=2)

    def train_batches(epoch: int) -> list[Batch]:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        return [(x[rows], label[rows]) for rows in order.split(32)]

    result = fit(
        module,
        train_batches,
        loss=loss,
        validate=lambda module: loss(module, unseen).item(),
        config=TrainingConfig(max_epochs=25, learning_rate=0.01, patience=8, device="cpu"),
    )
    with torch.no_grad():
        right = ((module(unseen[0]) > 0) == unseen[1].bool()).float().mean()
    print(
        f"{right:.0%} right after {result.steps} steps; best score {result.best_score:.4f} at step {result.best_step}"
    )


if __name__ == "__main__":
    main()
