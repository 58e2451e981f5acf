"""How a translator learns: batches of pairs of like length, and the loss. Needs torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.data import Pairs, keep_numbers, length_batches, pad, parts
from lstmkit.features import START, TextEncoder
from lstmkit.runtime.translate_encoders import Encoders, Numbered, number_texts

_IGNORED = -100
_JUDGED_TOGETHER = 128
# The weight of the loss between models with equally many wrong answers.
_TIE = 1e-3


def number_pairs(encoders: Encoders, pairs: Pairs) -> Numbered:
    """Pairs as numbers, on disk."""
    sides = zip(encoders, pairs[:2], strict=True)
    return Numbered(*(keep_numbers(_numbers(encoder, texts)) for encoder, texts in sides))


def _numbers(encoder: TextEncoder, texts: Iterable[str]) -> Iterator[list[int]]:
    return (row for part in parts(texts) for row in number_texts(encoder, part))


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
        lengths = (4 * len(target) + len(source) for source, target in zip(*pairs, strict=True))
        self._lengths = np.fromiter(lengths, np.int64)

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


def token_loss(
    module: nn.Module, batch: Mapping[str, Tensor], smoothing: float, consistency: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the tokens in nats, with a part of the target spread over all tokens, and their number.

    With a consistency every pair is read twice, each time with other values dropped, and what the two say of a token is
    drawn together.

    Source: Szegedy et al. (2016), section 7, for the smoothing; Liang et al. (2021), R-Drop, equation 4, for the
    consistency, their alpha, of which half counts here because two losses are one mean.
    """
    answer = batch["answer"]
    count = (answer != _IGNORED).sum()
    if not consistency:
        return _missed(_scores(module, batch), answer, smoothing), count
    twice = _scores(module, {name: torch.cat([tensor, tensor]) for name, tensor in batch.items()})
    missed = _missed(twice, torch.cat([answer, answer]), smoothing) / 2
    first, second = twice.chunk(2)
    return missed + consistency / 2 * _apart(first, second, answer), count


def _apart(scores: Tensor, others: Tensor, answer: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two sets of scores, the mean of both ways, summed over the tokens."""
    real = answer != _IGNORED
    first, second = scores[real].log_softmax(-1), others[real].log_softmax(-1)
    return ((first.exp() - second.exp()) * (first - second)).sum() / 2


def _scores(module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    return module({name: tensor for name, tensor in batch.items() if name != "answer"})["scores"]


def _missed(scores: Tensor, answer: Tensor, smoothing: float) -> Tensor:
    return nn.functional.cross_entropy(
        scores.flatten(0, 1), answer.flatten(), ignore_index=_IGNORED, label_smoothing=smoothing, reduction="sum"
    )


class Judge:
    """The pairs held back.

    Sentences are judged by their loss, smoothed as in training, which does not reward certainty. Where answers are to
    be exactly right, the part that is not counts, and the loss decides between equals: the best token behind every
    right beginning is right just where a greedy search finds the answer.

    Args:
        pairs: As numbers.
        smoothing: As in training.
        exact: Whether answers are to be exactly right.
    """

    def __init__(self, pairs: Numbered, smoothing: float, *, exact: bool) -> None:
        self._batches = Batches(pairs, _JUDGED_TOGETHER, shuffle=False)(0)
        self._smoothing, self._exact = smoothing, exact

    def __call__(self, module: nn.Module) -> float:
        """A score, lower is better."""
        device = next(module.parameters()).device
        loss = tokens = wrong = pairs = 0.0
        for batch in self._batches:
            beside = {name: tensor.to(device) for name, tensor in batch.items()}
            scores, answer = _scores(module, beside), beside["answer"]
            loss += float(_missed(scores, answer, self._smoothing))
            tokens += int((answer != _IGNORED).sum())
            right = (scores.argmax(-1) == answer) | (answer == _IGNORED)
            wrong, pairs = wrong + int((~right.all(1)).sum()), pairs + len(answer)
        return wrong / pairs + _TIE * loss / tokens if self._exact else loss / tokens
