"""How a translator learns: batches of pairs of like length, and the loss. Needs torch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.data import length_batches, pad
from lstmkit.features import START
from lstmkit.runtime.translate_encoders import Numbered

_IGNORED = -100
_JUDGED_TOGETHER = 128


class Batches:
    """The batches of every epoch, as :func:`lstmkit.training.fit` asks for them.

    Args:
        pairs: Sources and targets as numbers, each with its end.
        size: Pairs of a batch.
        shuffle: Draw them anew from NumPy's random state; otherwise the shortest come first.
    """

    def __init__(self, pairs: Numbered, size: int, *, shuffle: bool = True) -> None:
        self.pairs, self.size, self.shuffle = pairs, size, shuffle
        # The decoder costs most, so its lengths come first and the encoder's break ties.
        self._lengths = [4 * len(target) + len(source) for source, target in zip(*pairs, strict=True)]

    def __call__(self, epoch: int) -> "_Epoch":
        """Drawn when the epoch begins."""
        return _Epoch(self.pairs, length_batches(self._lengths, self.size, shuffle=self.shuffle))


class _Epoch:
    def __init__(self, pairs: Numbered, rows: Sequence[Any]) -> None:
        self.pairs, self.rows = pairs, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (make_batch(self.pairs, rows) for rows in self.rows)


def make_batch(pairs: Numbered, rows: Any) -> dict[str, Tensor]:
    """Some pairs: ``source (B, S)``, ``source_lengths (B,)``, ``target`` and ``answer (B, T)``, one step apart."""
    source, source_lengths = pad([pairs.sources[row] for row in rows])
    answer, lengths = pad([pairs.targets[row] for row in rows])
    target = np.concatenate([np.full((len(answer), 1), START), answer[:, :-1]], 1)
    answer[np.arange(answer.shape[1]) >= lengths[:, None]] = _IGNORED
    arrays = {"source": source, "source_lengths": source_lengths, "target": target, "answer": answer}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def token_loss(module: nn.Module, batch: Mapping[str, Tensor], smoothing: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the tokens in nats, with a part of the target spread over all tokens, and their number.

    Source: Szegedy et al. (2016), section 7, for the smoothing.
    """
    scores = module({name: tensor for name, tensor in batch.items() if name != "answer"})["scores"]
    answer = batch["answer"].reshape(-1)
    missed = nn.functional.cross_entropy(
        scores.reshape(len(answer), -1), answer, ignore_index=_IGNORED, label_smoothing=smoothing, reduction="sum"
    )
    return missed, (answer != _IGNORED).sum()


class Judge:
    """The pairs held back: their loss, smoothed as in training, which does not reward certainty."""

    def __init__(self, pairs: Numbered, smoothing: float) -> None:
        self._batches = list(Batches(pairs, _JUDGED_TOGETHER, shuffle=False)(0))
        self._smoothing = smoothing

    def __call__(self, module: nn.Module) -> float:
        """Their mean loss."""
        device = next(module.parameters()).device
        beside = ({name: tensor.to(device) for name, tensor in batch.items()} for batch in self._batches)
        losses = [token_loss(module, batch, self._smoothing) for batch in beside]
        return float(sum(missed for missed, _ in losses) / sum(count for _, count in losses))
