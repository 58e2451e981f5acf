"""Taggers on public data, and the speed of training beside the same model in plain torch.

Run ``python -m benchmarks.tagging [ewt|snips|wnut17|speed] [--seeds 1] [--json FILE]`` from the repository's root; the
data lie in ``../shared/data`` and are never packaged. Nothing is chosen on test data: the weights kept are those that
tag the validation part best.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.tagging_speed import measure_speed
from lstmkit import Tagger
from lstmkit.data import Sentence

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

Row = dict[str, Any]


def ewt(seeds: range) -> Iterator[Row]:
    """Universal parts of speech of English web texts; the most frequent tag of each word is right for 88.1 %."""
    names = ("en_ewt-train.rebuilt.conllu", "en_ewt-ud-dev.conllu", "en_ewt-ud-test.conllu")
    parts = [DATA / "ud_english_ewt" / name for name in names]
    yield from _rows("UD English-EWT, upos", parts, {"accuracy": 0.95}, seeds, column="upos")


def snips(seeds: range) -> Iterator[Row]:
    """Requests to an assistant: slots and intents; published for this split: 92.2 F1, 97.4 % (slot-gated model).

    Few of its words are new, and foretelling words brings nothing on the validation part (94.7 F1, without it 94.8).
    """
    parts = [_snips_part(DATA / "snips" / part) for part in ("train", "valid", "test")]
    goals = {"f1": 0.92, "intent_accuracy": 0.975}
    yield from _rows("SNIPS, slots and intents", parts, goals, seeds, language_modelling=0)


def _snips_part(folder: Path) -> list[Sentence]:
    lines = [(folder / name).read_text(encoding="utf-8").splitlines() for name in ("seq.in", "seq.out", "label")]
    rows = zip(*lines, strict=True)
    return [Sentence(tuple(words.split()), tuple(tags.split()), label.strip()) for words, tags, label in rows]


def wnut17(seeds: range) -> Iterator[Row]:
    """New and rare entities in user texts; the shared task's systems reached 26 to 42 F1 with pretrained vectors.

    The development part, which is of other years and places than the training part, is learned from too; a tenth of
    the two is held back.
    """
    train, dev, test = (
        DATA / "wnut17" / name for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    )
    yield from _rows("WNUT17, entities", [[train, dev], None, test], {"f1": 0.25}, seeds)


def _rows(case: str, parts: list[Any], goals: dict[str, float], seeds: range, **options: Any) -> Iterator[Row]:
    """Train, and score on the test part, once for each seed."""
    train, valid, test = parts
    for seed in seeds:
        start = time.perf_counter()
        tagger = Tagger(seed=seed, quiet=True, **options).fit(train, validation=valid)
        fitted = time.perf_counter()
        found = tagger.evaluate(test).to_dict()
        yield {
            "case": case,
            "seed": seed,
            "fit_seconds": fitted - start,
            "score_seconds": time.perf_counter() - fitted,
            **{f"valid_{name}": tagger.scores[name] for name in goals},
            **{name: found[name] for name in goals},
            "goals": goals,
        }


def speed(seeds: range) -> Iterator[Row]:
    """Seconds of training on the same sentences, in turn; the same weights give the same loss."""
    yield measure_speed(DATA / "ud_english_ewt" / "en_ewt-train.rebuilt.conllu")


CASES: dict[str, Callable[[range], Iterator[Row]]] = {"ewt": ewt, "snips": snips, "wnut17": wnut17, "speed": speed}


def line_of(row: Row) -> str:
    """One row as a person reads it."""
    if "goals" not in row:
        numbers = "  ".join(f"{name} {value:,.4g}" for name, value in row.items() if name != "case")
        return f"{row['case']}: {numbers}"
    scores = [
        f"{name} {100 * row[name]:.2f} (validation {100 * row[f'valid_{name}']:.2f}, goal {100 * goal:g}: "
        f"{'met' if row[name] >= goal else 'MISSED'})"
        for name, goal in row["goals"].items()
    ]
    return f"{row['case']}, seed {row['seed']}: {', '.join(scores)}; {row['fit_seconds'] / 60:.1f} minutes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES, nargs="?", help="all of them by default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"the data of this benchmark are not at {DATA}")
    rows: list[Row] = []
    for case in [options.case] if options.case else CASES:
        for row in CASES[case](range(options.seeds)):
            rows.append(row)
            print(line_of(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
