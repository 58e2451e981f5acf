"""The tagger's training beside the same model written with torch.nn.LSTM and packed sequences, in turn in one run."""

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstmkit import Tagger
from lstmkit.nn import StagedModel, crf_loss
from lstmkit.tasks.tagging.batches import Batches
from lstmkit.tasks.tagging.fitting import tagging_loss
from lstmkit.tasks.tagging.model import tag_stages
from lstmkit.tasks.tagging.sentences import read_sentences
from lstmkit.training import TrainingConfig, fit

Batch = dict[str, Tensor]

STEPS, ROUNDS = 40, 5


class TorchTagger(nn.Module):
    """Words and characters, two torch.nn.LSTM over packed sequences, and a CRF whose loop autograd follows."""

    def __init__(self, ours: StagedModel) -> None:
        super().__init__()
        parts = ours.stage_weights()
        self.rate = next(stage.options["rate"] for stage in ours.stages if stage.name == "read")
        self.words = nn.Embedding(*parts["words"]["weight"].shape)
        self.word_forms = nn.Embedding(*parts["word_forms"]["weight"].shape)
        self.characters = nn.Embedding(*parts["characters"]["weight"].shape)
        self.spelling = _torch_lstm(parts["spelling"])
        self.sentence = _torch_lstm(parts["sentence"])
        self.scores = nn.Linear(*reversed(parts["scores"]["weight"].shape))
        self.path = nn.ParameterDict(
            {name: nn.Parameter(value.detach().clone()) for name, value in parts["path"].items()}
        )
        for name in ("words", "word_forms", "characters", "spelling", "sentence", "scores"):
            getattr(self, name).load_state_dict({short: value.detach() for short, value in parts[name].items()})

    def emissions(self, batch: Batch) -> Tensor:
        """Scores of tags, ``(B, T, K)``."""
        spelled = pack_padded_sequence(
            self.characters(batch["spelled"]), batch["spelled_lengths"], batch_first=True, enforce_sorted=False
        )
        _, (ends, _) = self.spelling(spelled)
        spellings = torch.cat([*ends], -1)[batch["places"]]
        joined = torch.cat([self.words(batch["tokens"]), self.word_forms(batch["forms"]), spellings], -1)
        joined = self.drop(joined)
        packed = pack_padded_sequence(joined, batch["lengths"], batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.sentence(packed)[0], batch_first=True)
        return self.scores(self.drop(output))

    def drop(self, x: Tensor) -> Tensor:
        """Dropout with one mask for all words of a sentence."""
        return x * nn.functional.dropout(x.new_ones(len(x), 1, x.shape[2]), self.rate, self.training)

    def moves(self) -> list[Tensor]:
        """Scores of transitions, of first and of last tags."""
        return [self.path[name] for name in ("transitions", "first", "last")]

    def loss(self, batch: Batch) -> Tensor:
        """Nats per word."""
        losses = plain_crf_loss(self.emissions(batch), batch["tags"], *self.moves(), batch["lengths"])
        return losses.sum() / batch["lengths"].sum()

    def loss_with_our_crf(self, batch: Batch) -> Tensor:
        """The same, so that the LSTMs alone differ."""
        losses = crf_loss(self.emissions(batch), batch["tags"], *self.moves(), batch["lengths"])
        return losses.sum() / batch["lengths"].sum()


def plain_crf_loss(
    scores: Tensor, tags: Tensor, transitions: Tensor, first: Tensor, last: Tensor, lengths: Tensor
) -> Tensor:
    """What people write: a loop over the steps, whose gradient autograd finds."""
    rows = torch.arange(len(scores))
    real = torch.arange(scores.shape[1]) < lengths[:, None]
    total = scores[:, 0] + first
    right = total[rows, tags[:, 0]]
    for step in range(1, scores.shape[1]):
        here = real[:, step]
        grown = (total[:, :, None] + transitions).logsumexp(1) + scores[:, step]
        total = torch.where(here[:, None], grown, total)
        move = transitions[tags[:, step - 1], tags[:, step]] + scores[rows, step, tags[:, step]]
        right = right + torch.where(here, move, 0.0)
    return (total + last).logsumexp(1) - right - last[tags[rows, lengths - 1]]


def _torch_lstm(weights: dict[str, Tensor]) -> nn.LSTM:
    units, features = weights["weight_ih_l0"].shape
    layers = sum(name.startswith("weight_ih") for name in weights) // 2
    return nn.LSTM(features, units // 4, layers, batch_first=True, bidirectional=True)


def measure_speed(path: Path) -> dict[str, Any]:
    """Median seconds of some steps, ours by the room's own loop, theirs by the shortest that can be written.

    Raises:
        SystemExit: the two models do not give the same loss.
    """
    torch.set_num_threads(1)
    ours, batches = _model_and_batches(path)
    theirs = TorchTagger(ours)
    _check_same(ours, theirs, batches[0])
    runs: dict[str, Callable[[], object]] = {
        "lstmkit": lambda: _fit(ours, batches),
        "torch": lambda: _train(theirs, theirs.loss, batches),
        "torch_with_our_crf": lambda: _train(theirs, theirs.loss_with_our_crf, batches),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):
        for name, run in runs.items():
            seconds[name].append(_timed(run))
    # The first round is to warm up.
    best = {name: median(times[1:]) for name, times in seconds.items()}
    words = sum(int(batch["lengths"].sum()) for batch in batches)
    return {
        "case": f"training, {STEPS} steps of 32 sentences of UD English-EWT",
        **{f"{name}_words_per_second": words / value for name, value in best.items()},
        "times_torch": best["torch"] / best["lstmkit"],
        "times_torch_with_our_crf": best["torch_with_our_crf"] / best["lstmkit"],
    }


def _model_and_batches(path: Path) -> tuple[StagedModel, list[Batch]]:
    tagger = Tagger("upos")
    sentences = read_sentences(path, "upos")
    config = tagger._config(sentences)
    torch.manual_seed(0)
    ours = StagedModel(tag_stages(config, tagger.sizes))
    np.random.seed(0)
    batches = Batches(config, sentences, tagger.batch_size)
    return ours, [batches.tensors(batch) for batch in islice(batches(0), STEPS)]


def _check_same(ours: StagedModel, theirs: TorchTagger, batch: Batch) -> None:
    for module in (ours, theirs):
        module.eval()
    found = [float(loss.detach()) for loss in (_our_loss(ours, batch), theirs.loss(batch))]
    if abs(found[0] - found[1]) > 1e-5 * found[0]:
        raise SystemExit(f"these are not the same model: {found}")
    for module in (ours, theirs):
        module.train()


def _our_loss(module: nn.Module, batch: Batch) -> Tensor:
    """Nats per word; no transition is forbidden."""
    ((total, words),) = tagging_loss(module, batch, [torch.zeros(())] * 3)
    return total / words


def _fit(module: StagedModel, batches: list[Batch]) -> None:
    config = TrainingConfig(max_epochs=1, averaging=0.998, quiet=True, device="cpu")
    fit(module, lambda epoch: batches, loss=_our_loss, config=config)


def _train(module: nn.Module, loss: Callable[[Batch], Tensor], batches: list[Batch]) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    for batch in batches:
        optimizer.zero_grad()
        loss(batch).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
