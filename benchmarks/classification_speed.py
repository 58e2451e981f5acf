"""How long training takes beside the same network written with torch.nn.LSTM and packed sequences."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lstmkit.data import length_batches
from lstmkit.features import TextEncoder
from lstmkit.nn import StagedModel
from lstmkit.runtime import TextReader
from lstmkit.tasks.classification.model import SCORES, Sizes, classifier_stages
from lstmkit.tasks.classification.readers import text_reader

Inputs = dict[str, Tensor]

_ROUNDS, _BATCH, _SENTENCES = 5, 64, 2000


class TorchReader(nn.Module):
    """The reader of a classifier as one writes it in plain torch."""

    def __init__(self, reader: TextReader, sizes: Sizes, labels: int) -> None:
        super().__init__()
        width = sizes.embedding_size
        self.words = nn.Embedding(len(reader.encoder), width)
        self.letters = nn.EmbeddingBag(reader.pieces, width, mode="mean", padding_idx=0)
        self.lstm = nn.LSTM(width, sizes.hidden_size, bidirectional=True, batch_first=True)
        self.input_dropout, self.dropout = nn.Dropout(sizes.input_dropout), nn.Dropout(sizes.dropout)
        self.head = nn.Linear(4 * sizes.hidden_size, labels)

    def forward(self, inputs: Inputs) -> Tensor:
        """Scores ``(B, K)``."""
        lengths = inputs["lengths"]
        known = self.words(inputs["tokens"]) + self.letters(inputs["pieces"])[inputs["places"]]
        steps = known * self.input_dropout(torch.ones(len(known), 1, known.shape[2]))
        packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        found, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        real = (torch.arange(found.shape[1]) < lengths[:, None])[:, :, None]
        most = found.masked_fill(~real, -torch.inf).amax(1)
        average = (found * real).sum(1) / lengths[:, None]
        return self.head(self.dropout(torch.cat([most, average], 1)))


def measure_speed(texts: list[str], labels: list[str]) -> dict[str, Any]:
    """Sentences per second over the first ones: the best of several rounds, in each all in turn, on one thread.

    Raises:
        SystemExit: the two networks do not give the same scores.
    """
    torch.set_num_threads(1)
    texts, labels = texts[:_SENTENCES], labels[:_SENTENCES]
    encoder = TextEncoder.train(texts, "word", min_count=2, lowercase=True)
    reader, sizes = text_reader(texts, encoder, lowercase=True, letters=True), Sizes()
    names = sorted(set(labels))
    numbers = torch.tensor([names.index(label) for label in labels])
    batches = _read(reader, texts)
    ours = StagedModel(classifier_stages(reader, sizes, len(names)))
    theirs = [_twin(ours, reader, sizes, len(names)) for _ in range(2)]
    _check_same(ours, theirs[0], batches[0][1])
    courses = {
        "lstmkit": _Course(ours, lambda inputs: ours(inputs)[SCORES], fused=True),
        "torch": _Course(theirs[0], theirs[0], fused=False),
        "torch_with_fused_adamw": _Course(theirs[1], theirs[1], fused=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in courses}
    for _ in range(_ROUNDS):
        for name, course in courses.items():
            seconds[name].append(course.run(batches, numbers))
    best = {name: min(found) for name, found in seconds.items()}
    rates = {f"{name}_sentences_per_second": len(texts) / found for name, found in best.items()}
    times = {f"times_{name}": best[name] / best["lstmkit"] for name in best if name != "lstmkit"}
    return {"hidden_size": sizes.hidden_size, **rates, **times}


def _twin(ours: StagedModel, reader: TextReader, sizes: Sizes, labels: int) -> TorchReader:
    """The same weights in plain torch."""
    theirs, parts = TorchReader(reader, sizes, labels), ours.stage_weights()
    for name, part in (("words", "words"), ("letters", "letters"), ("lstm", "lstm"), ("head", SCORES)):
        getattr(theirs, name).load_state_dict({short: value.detach() for short, value in parts[part].items()})
    return theirs


def _check_same(ours: StagedModel, theirs: TorchReader, inputs: Inputs) -> None:
    ours.eval()
    theirs.eval()
    if not torch.allclose(ours(inputs)[SCORES], theirs(inputs), atol=1e-5):
        raise SystemExit("these are not the same network")


def _read(reader: TextReader, texts: list[str]) -> list[tuple[Any, Inputs]]:
    """Batches as both networks take them."""
    rows = reader.rows(texts)
    np.random.seed(0)
    found = length_batches([len(row.numbers) for row in rows], _BATCH, shuffle=True)
    read = [reader.arrays([rows[k] for k in index], grams=False) for index in found]
    arrays = [{name: torch.from_numpy(array) for name, array in inputs.items()} for inputs in read]
    return list(zip(found, arrays, strict=True))


class _Course:
    """A network with its optimizer."""

    def __init__(self, module: nn.Module, scores: Callable[[Inputs], Tensor], *, fused: bool) -> None:
        self.module, self.scores = module.train(), scores
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, fused=fused or None)

    def run(self, batches: list[tuple[Any, Inputs]], labels: Tensor) -> float:
        """Seconds of one pass."""
        start = time.perf_counter()
        for index, inputs in batches:
            nn.functional.cross_entropy(self.scores(inputs), labels[index]).backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start
