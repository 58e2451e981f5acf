"""Language models on public texts: perplexity, the speed of training beside torch.nn.LSTM, the speed of writing.

Run ``python -m benchmarks.language_modelling --case zaremba|default|shakespeare3|shakespeare30|speed|generate`` from
the repository's root, with ``--folder`` for a log, a checkpoint from which a killed run goes on, and the result as
JSON. The data lie in ``../shared/data`` and are never packaged.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lstmkit import LanguageModel

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PTB = DATA / "ptb"
SHAKESPEARE = DATA / "tinyshakespeare" / "input.txt"

Row = dict[str, Any]


def zaremba(folder: Path, options: argparse.Namespace) -> Row:
    """The small network of Zaremba et al. (2014), 13 passes; published test perplexity 114.5, TensorFlow's 115.9."""
    return _ptb("PTB words, Zaremba's small recipe", folder, options, goal=116.5, recipe="small")


def default(folder: Path, options: argparse.Namespace) -> Row:
    """Our own recipe."""
    return _ptb("PTB words, default recipe", folder, options, goal=92.0, time_limit=options.minutes or 70)


def _ptb(case: str, folder: Path, options: argparse.Namespace, *, goal: float, **arguments: Any) -> Row:
    model = _model(folder, options, "word", split_punctuation=False, **arguments)
    begun = time.perf_counter()
    model.fit(PTB / "ptb.train.txt", validation=PTB / "ptb.valid.txt")
    fitted = time.perf_counter()
    model.save(folder / "model.safetensors")
    test = model.evaluate(PTB / "ptb.test.txt")
    return {
        "case": case,
        "goal": goal,
        "test_perplexity": test.perplexity,
        "validation_perplexity": model.scores["perplexity"],
        "test_tokens": test.tokens,
        "minutes": (fitted - begun) / 60,
        "evaluation_seconds": time.perf_counter() - fitted,
    }


def shakespeare3(folder: Path, options: argparse.Namespace) -> Row:
    """Characters of tiny Shakespeare in three minutes; a small GPT gets to 1.88 nats in that time."""
    return _shakespeare(folder, options, minutes=options.minutes or 2.9, goal=1.65, **SHORT)


def shakespeare30(folder: Path, options: argparse.Namespace) -> Row:
    """The same in thirty minutes."""
    return _shakespeare(folder, options, minutes=options.minutes or 29, goal=1.50, **LONG)


SHORT: dict[str, Any] = {"hidden_size": 512, "num_layers": 1, "dropout": 0.1, "batch_size": 32}
LONG: dict[str, Any] = {
    "hidden_size": 512,
    "num_layers": 2,
    "dropout": 0.3,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "max_epochs": 40,
}


def _shakespeare(folder: Path, options: argparse.Namespace, *, minutes: float, goal: float, **arguments: Any) -> Row:
    text = SHAKESPEARE.read_text(encoding="utf-8")
    end = int(0.9 * len(text))
    train, valid = folder / "train.txt", folder / "valid.txt"
    train.write_text(text[:end], encoding="utf-8")
    valid.write_text(text[end:], encoding="utf-8")
    model = _model(folder, options, "character", **({"time_limit": minutes} | arguments))
    begun = time.perf_counter()
    model.fit(train, validation=valid)
    fitted = time.perf_counter()
    model.save(folder / "model.safetensors")
    return {
        "case": f"tiny Shakespeare, characters, {minutes:g} minutes",
        "goal": goal,
        "validation_nats": model.scores["nats_per_token"],
        "minutes": (fitted - begun) / 60,
    }


def _model(folder: Path, options: argparse.Namespace, level: str, **arguments: Any) -> LanguageModel:
    given = dict(each.split("=", 1) for each in options.set)
    changes = {name: json.loads(value) for name, value in given.items()}
    return LanguageModel(
        level,
        **{
            "seed": options.seed,
            "checkpoint": folder / "checkpoint",
            "log": folder / "log.jsonl",
            **arguments,
            **changes,
        },
    )


def speed(folder: Path, options: argparse.Namespace) -> Row:
    """Steps of Zaremba's small network: ours, and the same written with torch.nn.LSTM, turn by turn in one run."""
    from benchmarks.torch_training import take_turns

    runs = {
        "lstmkit": our_steps(),
        "torch_float32": torch_steps(bfloat16=False),
        "torch_bfloat16": torch_steps(bfloat16=True),
    }
    words = _STEPS * _SIZES["streams"] * _SIZES["steps"]
    case = "training, PTB words, 2x200, 20 streams of 20 words"
    return {"case": case, "goal": 1.3, **take_turns(runs, words, "words")}


_SIZES = {"tokens": 10_000, "hidden": 200, "streams": 20, "steps": 20}
_STEPS = 40


def our_steps() -> Callable[[], object]:
    """Some steps as :func:`lstmkit.training.fit` takes them."""
    from lstmkit.tasks.language_modelling.fitting import build
    from lstmkit.tasks.language_modelling.recipes import RECIPES
    from lstmkit.tasks.language_modelling.streams import Streams
    from lstmkit.training import TrainingConfig, fit

    network = build(RECIPES["small"], _SIZES["tokens"], None, _SIZES["streams"], 0)
    tokens = np.random.default_rng(0).integers(_SIZES["tokens"], size=_SIZES["streams"] * _SIZES["steps"] * 50)
    streams = Streams.of(tokens, _SIZES["streams"], _SIZES["steps"])
    options: dict[str, Any] = {"optimizer": "sgd", "gradient_clip": 5.0, "schedule": "constant", "device": "cpu"}
    config = TrainingConfig(max_steps=_STEPS, learning_rate=1.0, mixed_precision="auto", quiet=True, **options)
    return lambda: fit(network, streams, loss=lambda module, batch: module(batch), config=config)


def torch_steps(*, bfloat16: bool) -> Callable[[], object]:
    """As many of the same network in plain torch."""
    import torch
    from torch import nn

    from benchmarks.torch_training import train

    tokens, hidden = _SIZES["tokens"], _SIZES["hidden"]
    lstm, head = nn.LSTM(hidden, hidden, 2), nn.Linear(hidden, tokens)
    network = nn.ModuleDict({"rows": nn.Embedding(tokens, hidden), "lstm": lstm, "head": head})
    batch = torch.randint(tokens, (_SIZES["steps"] + 1, _SIZES["streams"]))
    state = [torch.zeros(2, _SIZES["streams"], hidden) for _ in range(2)]

    def loss(rows: torch.Tensor) -> torch.Tensor:
        output, last = lstm(network["rows"](rows[:-1]), tuple(state))
        state[:] = [each.detach().float() for each in last]
        return nn.functional.cross_entropy(head(output).flatten(0, 1), rows[1:].flatten())

    def optimizer(weights: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(weights, lr=1.0, fused=True)

    return lambda: train(network, loss, [batch] * _STEPS, optimizer, clip=5.0, bfloat16=bfloat16)


def generate(folder: Path, options: argparse.Namespace) -> Row:
    """Characters per second of a 2x256 network on one core, without torch; its weights do not matter."""
    from lstmkit.features import Sampler

    text = SHAKESPEARE.read_text(encoding="utf-8")[:20_000]
    sample = folder / "sample.txt"
    sample.write_text(text, encoding="utf-8")
    model = LanguageModel(
        "character", embedding_size=64, hidden_size=256, num_layers=2, max_steps=2, quiet=True, device="cpu"
    ).fit(sample)
    row: Row = {"case": "characters per second, 2x256, one core", "goal": 20_000}
    for precision in ("float32", "bfloat16", "int8"):
        for name, choice in {"": {}, "_top_k": {"top_k": 20}}.items():
            rates = []
            for seed in range(5):
                begun = time.perf_counter()
                written = "".join(model.write("ROMEO:", 4000, Sampler(seed=seed, **choice), precision))
                rates.append(len(written) / (time.perf_counter() - begun))
            row[precision + name] = float(np.median(rates))
    return row


CASES: dict[str, Callable[[Path, argparse.Namespace], Row]] = {
    "zaremba": zaremba,
    "default": default,
    "shakespeare3": shakespeare3,
    "shakespeare30": shakespeare30,
    "speed": speed,
    "generate": generate,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--folder", type=Path, help="for log, checkpoint, model and result; by default build/lm/CASE")
    parser.add_argument("--minutes", type=float, help="another limit of time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=JSON", help="arguments of LanguageModel")
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"the data of this benchmark are not at {DATA}")
    folder = options.folder or Path("build") / "lm" / options.case
    folder.mkdir(parents=True, exist_ok=True)
    row = CASES[options.case](folder, options)
    print(json.dumps(row))
    (folder / "result.json").write_text(json.dumps(row, indent=2) + "\n")


if __name__ == "__main__":
    main()
