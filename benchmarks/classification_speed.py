"""How long training takes beside the same network written with torch.nn.LSTM and packed sequences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.torch_training import adamw, take_turns, train
from lstmkit.data import length_batches
from lstmkit.features import TextEncoder
from lstmkit.nn import StagedModel
from lstmkit.runtime import TextReader
from lstmkit.runtime.classify_text import TextRow
from lstmkit.tasks.classification.model import SCORES, Sizes, classifier_stages
from lstmkit.tasks.classification.readers import text_reader
from lstmkit.tasks.classification.recipe import Members
from lstmkit.training import TrainingConfig, fit

Inputs = dict[str, Tensor]
Batch = tuple[Inputs, Tensor]

_BATCH, _SENTENCES = 64, 4000


class TorchReader(nn.Module):
    """The reader of a classifier as one writes it in plain torch."""

    def __init__(self, reader: TextReader, sizes: Sizes, labels: int) -> None:
        super().__init__()
        width = sizes.embedding_size
        self.words = nn.Embedding(len(reader.encoder), width)
        self.letters = nn.EmbeddingBag(reader.pieces, width, mode="mean", padding_idx=0)
        self.lstm = nn.LSTM(width, sizes.hidden_size, bidirectional=True, batch_first=True)
        self.input_dropout, self.dropout = nn.Dropout(sizes.input_dropout), nn.Dropout(sizes.dropout)
        self.attention, self.score = nn.Linear(2 * sizes.hidden_size, 64), nn.Parameter(torch.zeros(64))
        self.head = nn.Linear(2 * sizes.hidden_size, labels)

    def forward(self, inputs: Inputs) -> Tensor:
        """Scores ``(B, K)``."""
        lengths = inputs["lengths"]
        spelt = nn.functional.embedding(inputs["places"], self.letters(inputs["pieces"]))
        known = self.words(inputs["tokens"]) + spelt
        steps = known * self.input_dropout(torch.ones(len(known), 1, known.shape[2]))
        packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        found, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        real = torch.arange(found.shape[1]) < lengths[:, None]
        weights = (torch.tanh(self.attention(found)) @ self.score).masked_fill(~real, -torch.inf).softmax(1)
        return self.head(self.dropout((weights[:, :, None] * found).sum(1)))

    def loss(self, batch: Batch) -> Tensor:
        """Nats."""
        return nn.functional.cross_entropy(self(batch[0]).float(), batch[1])


def measure_speed(texts: list[str], labels: list[str]) -> dict[str, Any]:
    """Sentences a second over the first ones, ours by the room's own loop, theirs by the shortest that can be written.

    Raises:
        SystemExit: the two networks do not give the same scores.
    """
    texts, labels = texts[:_SENTENCES], labels[:_SENTENCES]
    encoder = TextEncoder.train(texts, "word", min_count=2, lowercase=True)
    (reader, rows), sizes = text_reader(texts, encoder, lowercase=True, letters=True), Sizes()
    names = sorted(set(labels))
    batches = _read(reader, rows, torch.tensor([names.index(label) for label in labels]))
    ours = StagedModel(classifier_stages(reader, sizes, len(names)))
    theirs = _twin(ours, reader, sizes, len(names))
    _check_same(ours, theirs, batches[0][0])
    runs = {
        "lstmkit": lambda: _fit(ours, batches),
        "torch_float32": lambda: train(theirs, theirs.loss, batches, adamw(3e-3)),
        "torch_bfloat16": lambda: train(theirs, theirs.loss, batches, adamw(3e-3), bfloat16=True),
    }
    return {"hidden_size": sizes.hidden_size, **take_turns(runs, len(texts), "sentences")}


def _twin(ours: StagedModel, reader: TextReader, sizes: Sizes, labels: int) -> TorchReader:
    """The same weights in plain torch."""
    theirs, parts = TorchReader(reader, sizes, labels), ours.stage_weights()
    for name, part in (("words", "words"), ("letters", "letters"), ("lstm", "lstm"), ("head", SCORES)):
        getattr(theirs, name).load_state_dict({short: value.detach() for short, value in parts[part].items()})
    attended = {short: value.detach() for short, value in parts["attended"].items()}
    theirs.score.data.copy_(attended.pop("v"))
    theirs.attention.load_state_dict(attended)
    return theirs


def _check_same(ours: StagedModel, theirs: TorchReader, inputs: Inputs) -> None:
    ours.eval()
    theirs.eval()
    if not torch.allclose(ours(inputs)[SCORES], theirs(inputs), atol=1e-5):
        raise SystemExit("these are not the same network")
    ours.train()
    theirs.train()


def _read(reader: TextReader, rows: Sequence[TextRow], labels: Tensor) -> list[Batch]:
    """Batches as both networks take them."""
    np.random.seed(0)
    found = length_batches([len(row.numbers) for row in rows], _BATCH, shuffle=True)
    read = [reader.arrays([rows[k] for k in index], grams=False) for index in found]
    arrays = [{name: torch.from_numpy(array) for name, array in inputs.items()} for inputs in read]
    return [(inputs, labels[index]) for inputs, index in zip(arrays, found, strict=True)]


def _fit(module: StagedModel, batches: list[Batch]) -> None:
    config = TrainingConfig(
        max_epochs=1, learning_rate=3e-3, averaging=0.98, mixed_precision="auto", quiet=True, device="cpu"
    )
    fit(Members([module]), lambda epoch: batches, loss=_our_loss, config=config)


def _our_loss(module: nn.Module, batch: Batch) -> Tensor:
    (scores,) = module(batch[0])
    return nn.functional.cross_entropy(scores, batch[1])
