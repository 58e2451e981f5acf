"""The tagger's training beside the same model written with torch.nn.LSTM and packed sequences, in turn in one run.

Both learn the tags alone; no words are foretold.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.torch_training import adamw, take_turns, train
from lstmkit import Tagger
from lstmkit.nn import StagedModel
from lstmkit.tasks.tagging.batches import Batches
from lstmkit.tasks.tagging.fitting import tagging_loss
from lstmkit.tasks.tagging.model import tag_stages
from lstmkit.tasks.tagging.sentences import read_sentences
from lstmkit.training import TrainingConfig, fit

Batch = dict[str, Tensor]

STEPS = 40


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
        spellings = nn.functional.embedding(batch["places"], torch.cat([*ends], -1))
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
        losses = plain_crf_loss(self.emissions(batch).float(), batch["tags"], *self.moves(), batch["lengths"])
        return losses.sum() / batch["lengths"].sum()


def plain_crf_loss(
    scores: Tensor, tags: Tensor, transitions: Tensor, first: Tensor, last: Tensor, lengths: Tensor
) -> Tensor:
    """What people write: a loop over the steps, whose gradient autograd finds."""
    real = torch.arange(scores.shape[1]) < lengths[:, None]
    total = scores[:, 0] + first
    for step in range(1, scores.shape[1]):
        grown = (total[:, :, None] + transitions).logsumexp(1) + scores[:, step]
        total = torch.where(real[:, step, None], grown, total)
    own = (scores.gather(2, tags[:, :, None])[:, :, 0] * real).sum(1)
    moves = (transitions[tags[:, :-1], tags[:, 1:]] * real[:, 1:]).sum(1)
    final = tags.gather(1, lengths[:, None] - 1)[:, 0]
    return (total + last).logsumexp(1) - own - moves - first[tags[:, 0]] - last[final]


def _torch_lstm(weights: dict[str, Tensor]) -> nn.LSTM:
    units, features = weights["weight_ih_l0"].shape
    layers = sum(name.startswith("weight_ih") for name in weights) // 2
    return nn.LSTM(features, units // 4, layers, batch_first=True, bidirectional=True)


def measure_speed(path: Path) -> dict[str, Any]:
    """Words a second, ours by the room's own loop, theirs by the shortest that can be written.

    Raises:
        SystemExit: the two models do not give the same loss.
    """
    ours, batches = _model_and_batches(path)
    theirs = TorchTagger(ours)
    _check_same(ours, theirs, batches[0])
    runs = {
        "lstmkit": lambda: _fit(ours, batches),
        "torch_float32": lambda: train(theirs, theirs.loss, batches, adamw(1e-3)),
        "torch_bfloat16": lambda: train(theirs, theirs.loss, batches, adamw(1e-3), bfloat16=True),
    }
    words = sum(int(batch["lengths"].sum()) for batch in batches)
    case = f"training, {STEPS} steps of 32 sentences of UD English-EWT"
    return {"case": case, "goal": 2.5, **take_turns(runs, words, "words")}


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
    config = TrainingConfig(max_epochs=1, averaging=0.998, mixed_precision="auto", quiet=True, device="cpu")
    fit(module, lambda epoch: batches, loss=_our_loss, config=config)
