"""A little training in each room, by one process or several: FOLDER. Without dropout, which no two processes share."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from lstmkit import Classifier, Forecaster, LanguageModel, Tagger, Translator
from lstmkit.data import Sentence
from lstmkit.spec import process_number
from lstmkit.training.watch import watching

DIGITS = ["zero", "one", "two", "three", "four"]


def sentences(random: np.random.Generator, count: int) -> list[Sentence]:
    rows = [[DIGITS[k] for k in random.integers(0, 5, random.integers(1, 7))] for _ in range(count)]
    labels = ["even" if len(row) % 2 == 0 else None for row in rows]
    tags = [tuple("B-x" if word < "s" else "O" for word in row) for row in rows]
    return [Sentence(tuple(row), tag, label) for row, tag, label in zip(rows, tags, labels, strict=True)]


def trainings(random: np.random.Generator) -> dict:
    own = {"hidden_size": 8, "dropout": 0.0, "quiet": True}
    # Sums of parts of a batch round apart by 1e-7 of them in float32, by 1e-2 in bfloat16.
    exact = {**own, "mixed_precision": "no"}
    short = {"max_epochs": 2, "batch_size": 7, **exact}
    found = sentences(random, 45)
    texts = [" ".join(sentence.words) for sentence in found]
    labels = ["long" if len(sentence.words) > 3 else "short" for sentence in found]
    wave = {"ds": np.arange(90), "y": np.sin(np.arange(90) / 3) + random.normal(0, 0.1, 90)}
    wave["y"][random.random(90) < 0.2] = np.nan
    folder = Path(sys.argv[1])
    (folder / f"text{process_number()}.txt").write_text("\n".join(texts * 4))

    def forecast() -> None:
        import pandas as pd

        Forecaster(4, season=1, max_steps=6, batch_size=9, **own).fit(pd.DataFrame(wave))

    return {
        "classify": lambda: Classifier(members=2, max_epochs=3, batch_size=7, input_dropout=0.0, **exact).fit(
            texts, labels
        ),
        "forecast": forecast,
        "lm": lambda: LanguageModel("character", max_steps=12, batch_size=5, **exact).fit(
            folder / f"text{process_number()}.txt"
        ),
        "tag": lambda: Tagger(**short).fit(found[10:], validation=found[:10]),
        "tag words": lambda: Tagger(crf=False, **short).fit(found[10:], validation=found[:10]),
        "translate": lambda: Translator(
            source_level="word", target_level="character", embedding_size=8, max_steps=6, batch_size=7, **exact
        ).fit(texts, [text[::-1] for text in texts]),
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    told: dict[str, list[float]] = {}
    train = torch.nn.Module.train
    torch.nn.Module.train = lambda module, mode=True: train(module, False)  # whatever is dropped besides
    for name, fit in trainings(np.random.default_rng(0)).items():
        scores = told[name] = []
        with watching(lambda validation, scores=scores: scores.extend((validation.loss, validation.score))):
            fit()
    (folder / f"told{process_number()}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
