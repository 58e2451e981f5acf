"""What a search leaves: the best model in a file, and a table of the trials."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstmkit.runtime import load
from lstmkit.spec import LSTMKitError
from lstmkit.training import Trial
from lstmkit.training.tuning import option_text

_ROWS_SHOWN = 20


@dataclass(frozen=True)
class Trained:
    """A model that fit has saved, and whether Ctrl-C cut its training short."""

    path: Path
    interrupted: bool


class FileShelf:
    """The best model in a file, which says itself of which study it is."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.place = f"{platform.node()}:{output.absolute()}"

    def score(self, study: str) -> float | None:
        """The score of the model in the file, if it is one of this study."""
        try:
            record = load(self._output).document.get("search")
        except LSTMKitError:
            return None
        if not isinstance(record, dict) or record.get("study") != study or not isinstance(record.get("score"), float):
            return None
        return record["score"]

    def put(self, model: Trained, record: Mapping[str, Any]) -> None:
        """Replace the file, whole or not at all."""
        found = load(model.path)
        found.document["search"] = dict(record)
        found.save(self._output)


def trials_text(trials: tuple[Trial, ...], best: Trial | None) -> str:
    """A table of the trials, the best ones first; some of them where they are many."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.options))
    rows = [["trial", "score", "minutes", "", *names]]
    ordered = sorted(trials, key=_order)
    rows += [_row(trial, names, trial == best) for trial in ordered[:_ROWS_SHOWN]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(trials) > _ROWS_SHOWN:
        lines.append(f"... {len(trials) - _ROWS_SHOWN} more trials; --json has all")
    return "\n".join(lines)


def _order(trial: Trial) -> tuple[bool, float]:
    return trial.state != "complete", float("inf") if trial.score is None else trial.score


def _row(trial: Trial, names: list[str], best: bool) -> list[str]:
    score = "" if trial.score is None else f"{trial.score:.5g}"
    state = "best" if best else "" if trial.state == "complete" else trial.state
    return [str(trial.number), score, f"{trial.seconds / 60:.1f}", state, *(_cell(trial.options, n) for n in names)]


def _cell(options: Mapping[str, Any], name: str) -> str:
    return option_text(options.get(name, ""))
