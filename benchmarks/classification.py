"""Classifiers on public data, with the defaults of Classifier.

Run ``python -m benchmarks.classification [trec|sst2|mr|series|speed] [--seeds 1] [--folds 10] [--json FILE]`` from the
repository's root; the data lie in ``../shared/data`` and are never packaged. Nothing is chosen on test data: every
reader of a model is judged by training examples that it was not shown, or by the validation part where there is one.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.classification_speed import measure_speed
from lstmkit import Classifier

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SENTENCES = DATA / "sentences"

Row = dict[str, Any]
Texts = tuple[list[str], list[str]]


def read_sentences(name: str) -> Texts:
    """Sentences and their labels; the files are mixed of latin-1 and UTF-8, so every byte is taken for a letter."""
    # Not splitlines: in latin-1 one of its line ends is a letter of these files.
    lines = (SENTENCES / name).read_text(encoding="latin-1").strip().split("\n")
    pairs = [line.split(" ", 1) for line in lines]
    return [text for _, text in pairs], [label for label, _ in pairs]


def trec(seeds: range, folds: int) -> Iterator[Row]:
    """Six kinds of questions; a CNN without pretrained vectors is known to reach 88.2 %, naive Bayes 85.6 %."""
    train, test = read_sentences("TREC.train.all"), read_sentences("TREC.test.all")
    for seed in seeds:
        yield _row("TREC", 0.90, seed, lambda c: c.fit(*train), test)


def sst2(seeds: range, folds: int) -> Iterator[Row]:
    """Positive and negative sentences, learned from whole sentences alone; the dev part is the judge."""
    train, dev, test = (read_sentences(f"stsa.binary.{part}") for part in ("train", "dev", "test"))
    for seed in seeds:
        yield _row("SST-2", 0.83, seed, lambda c: c.fit(*train, validation=dev), test)


def mr(seeds: range, folds: int) -> Iterator[Row]:
    """Movie reviews have no test part: tenths of a fixed permutation, each the test part once."""
    texts, labels = read_sentences("rt-polarity.all")
    tenths = np.array_split(np.random.default_rng(7).permutation(len(texts)), 10)

    def pick(index: Any) -> Texts:
        return [texts[k] for k in index], [labels[k] for k in index]

    for fold in range(folds):
        train = pick(np.concatenate([tenth for k, tenth in enumerate(tenths) if k != fold]))
        yield _row("MR", 0.77, fold, lambda c, train=train: c.fit(*train), pick(tenths[fold]))


def series(seeds: range, folds: int) -> Iterator[Row]:
    """Speakers, movements and seasons; 1-NN reaches 95 (with DTW), 60 and 95.5 %."""
    for name, goal in (("JapaneseVowels", 0.97), ("BasicMotions", 0.97), ("ItalyPowerDemand", 0.95)):
        train, test = (DATA / "series_classification" / name / f"{name}_{part}.ts" for part in ("TRAIN", "TEST"))
        for seed in seeds:
            yield _row(name, goal, seed, lambda c, train=train: c.fit(train), (test,))


def speed(seeds: range, folds: int) -> Iterator[Row]:
    """Passes over sentences beside the same network in plain torch, in turn."""
    texts, labels = read_sentences("stsa.binary.train")
    yield {"case": "speed", **measure_speed(texts, labels), "goal": 2.5}


def _row(case: str, goal: float, seed: int, fit: Callable[[Classifier], Any], test: tuple[Any, ...]) -> Row:
    """Train, and score on the test part."""
    start = time.perf_counter()
    classifier = fit(Classifier(seed=seed, quiet=True))
    fitted = time.perf_counter()
    scores = classifier.evaluate(*test).to_dict()
    kept = ("examples", "accuracy", "macro_f1", "log_loss", "expected_calibration_error")
    return {
        "case": case,
        "seed": seed,
        "goal": goal,
        "held_back": classifier.scores["accuracy"],
        "fit_seconds": fitted - start,
        **{name: scores[name] for name in kept},
    }


CASES: dict[str, Callable[[range, int], Iterator[Row]]] = {
    "trec": trec,
    "sst2": sst2,
    "mr": mr,
    "series": series,
    "speed": speed,
}


def summary(rows: list[Row]) -> str:
    """Means over seeds or folds, one line a case."""
    lines: list[str] = []
    for case in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == case]
        goal = own[0]["goal"]
        if case == "speed":
            lines.append(
                f"speed: {own[0]['times_faster']:.2f} times torch.nn.LSTM with packed sequences (float32 "
                f"{own[0]['times_torch_float32']:.2f}, bfloat16 {own[0]['times_torch_bfloat16']:.2f})  goal {goal}: "
                f"{_verdict(own[0]['times_faster'] >= goal)}"
            )
            continue
        mean = {name: float(np.mean([row[name] for row in own])) for name in own[0] if name not in ("case", "goal")}
        each = ", ".join(f"{row['accuracy']:.1%}" for row in own)
        lines.append(
            f"{case}: accuracy {mean['accuracy']:.1%} ({each})  held back {mean['held_back']:.1%}  "
            f"calibration error {mean['expected_calibration_error']:.1%}  goal {goal:.0%}: "
            f"{_verdict(mean['accuracy'] >= goal)}  {mean['fit_seconds']:.0f} s each"
        )
    return "\n".join(lines)


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES, nargs="?", help="all of them by default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--folds", type=int, default=10, help="of MR")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"the data of this benchmark are not at {DATA}")
    rows: list[Row] = []
    for case in [options.case] if options.case else CASES:
        for row in CASES[case](range(options.seeds), options.folds):
            rows.append(row)
            shown = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
            print(json.dumps(shown), flush=True)
    print(summary(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
