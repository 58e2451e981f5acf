"""``lstmkit classify``: train, predict with, explain and evaluate a classifier of texts or series."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from lstmkit.cli.common import (
    RESULTS,
    TOKENIZER,
    AsJson,
    Checkpoint,
    Counted,
    Encoding,
    Log,
    Model,
    ModelOutput,
    Quiet,
    Seed,
    TimeLimit,
    check_ending,
    check_place,
    command,
    draw,
    option,
    write_lines,
    write_rows,
    write_text,
)
from lstmkit.plots import draw_confusion
from lstmkit.tasks.classification import Classifier, Evaluation
from lstmkit.tasks.classification.explanation import page

app = typer.Typer(
    help="Put labels on texts or on series with an LSTM: fit, predict, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_PLOTS = (".png", ".svg", ".pdf")
_ROWS_SHOWN, _EXPLAINED = 40, 10

Data = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA...",
        help="Tables of texts (.csv .tsv .json .jsonl), .ts files of series, or with --id tables of series.",
    ),
]
Several = list[str] | None

# Errors speak of the arguments of Classifier; on the command line these have other names.
_OPTIONS = {
    "text_column=": "--text",
    "label_column=": "--label",
    "id_column=": "--id",
    "time_column=": "--time",
    "value_columns=": "--value",
    "encoding=": "--encoding ",
    "class_weights=": "--class-weights",
    "class_weights": "--class-weights",
    "level must": "--level must",
    "lowercase is": "--lowercase is",
    "--encoding ''": "--encoding",
}

_command = command(app, _OPTIONS)


@_command
def fit(
    data: Data,
    output: ModelOutput,
    valid: Annotated[Path | None, option("--valid", help="Labelled examples to judge by and never learn from.")] = None,
    text: Annotated[str, option("--text", help="Column of the text.")] = "text",
    label: Annotated[str, option("--label", help="Column of the label.")] = "label",
    level: Annotated[
        str, option("--level", help=f"What a token is: word, character, bpe or wordpiece, {TOKENIZER}.")
    ] = "word",
    lowercase: Annotated[bool, option("--lowercase", help="Take upper and lower case for the same.")] = False,
    id_column: Annotated[
        str | None, option("--id", help="Column that tells series apart: DATA are tables with a row per step.")
    ] = None,
    time_column: Annotated[str | None, option("--time", help="Column to sort the steps of a series by.")] = None,
    value: Annotated[
        Several, option("--value", help="Column of values of a series; may be repeated. Default: all that are left.")
    ] = None,
    class_weights: Annotated[
        str | None, option("--class-weights", help="balanced: errors on rare labels count more.")
    ] = None,
    members: Annotated[int | None, option("--members", help="Networks that decide together.")] = None,
    hidden_size: Annotated[int, option("--hidden-size", help="Units of the LSTM in each direction.")] = 64,
    num_layers: Annotated[int, option("--num-layers", help="Layers of the LSTM.")] = 1,
    dropout: Annotated[float, option("--dropout", help="Part of what was read that is dropped in training.")] = 0.5,
    batch_size: Annotated[int, option("--batch-size", help="Examples of a training step.")] = 64,
    learning_rate: Annotated[float, option("--learning-rate", help="The highest one.")] = 3e-3,
    max_epochs: Annotated[int, option("--max-epochs", help="Passes over the examples.")] = 8,
    time_limit: TimeLimit = None,
    checkpoint: Checkpoint = None,
    log: Log = None,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a classifier and print its scores on examples that were held back."""
    classifier = Classifier(
        level=level,
        lowercase=lowercase,
        text_column=text,
        label_column=label,
        id_column=id_column,
        time_column=time_column,
        value_columns=value,
        encoding=encoding,
        class_weights=class_weights,
        members=members,
        hidden_size=hidden_size,
        num_layers=num_layers,
        dropout=dropout,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_epochs=max_epochs,
        time_limit=time_limit,
        checkpoint=checkpoint,
        log=log,
        seed=seed,
        quiet=quiet,
    )
    check_place(output)
    classifier.fit(data, validation=valid)
    classifier.save(output)
    if not quiet:
        print(_scores_line(classifier.scores, "On --valid" if valid else "On examples held back in training"))
        print(f"saved {output}{', the best model so far' if classifier.interrupted else ''}", file=sys.stderr)
    if classifier.interrupted:
        raise KeyboardInterrupt


@_command
def predict(
    model: Model,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="As for fit, or .txt with a text per line.")],
    output: Annotated[
        Path | None, option("--output", "-o", help="A file: .csv .tsv .json .jsonl .parquet .txt; .html with --explain")
    ] = None,
    explain: Annotated[bool, option("--explain", help="Show which words or steps decided. Needs torch.")] = False,
    of: Annotated[str | None, option("--of", help="Explain this label in place of the one that was found.")] = None,
    text: Annotated[str | None, option("--text", help="Column of the text, where it is not that of fit.")] = None,
    encoding: Annotated[str | None, option("--encoding", help="Of DATA, where it is not that of fit.")] = None,
) -> None:
    """Print the label of each example of DATA, and how probable it is."""
    check_ending(output, (".html", ".txt") if explain else RESULTS)
    classifier = Classifier.load(model)
    classifier.read_as(text_column=text, encoding=encoding)
    if explain:
        _explain(classifier, data, of, output)
        return
    rows = Counted(classifier.result_rows(data))
    if output is None:
        _show(f"{row['label']}\t{row['probability']:.3f}\t{_shown(row)}" for row in rows)
        return
    if output.suffix.lower() == ".txt":
        write_lines((row["label"] for row in rows), output)
    else:
        write_rows(rows, output)
    print(f"wrote {rows.count:,} labels to {output}", file=sys.stderr)


@_command
def evaluate(
    model: Model,
    data: Data,
    output: Annotated[
        Path | None, option("--output", "-o", help="A file: .json .txt .csv, or .png of the confusion matrix.")
    ] = None,
    as_json: AsJson = False,
    text: Annotated[str | None, option("--text", help="Column of the text, where it is not that of fit.")] = None,
    label: Annotated[str | None, option("--label", help="Column of the label, where it is not that of fit.")] = None,
    encoding: Annotated[str | None, option("--encoding", help="Of DATA, where it is not that of fit.")] = None,
) -> None:
    """Score a model on labelled examples: of all labels, of each, and what was taken for what."""
    check_ending(output, (*RESULTS, *_PLOTS))
    classifier = Classifier.load(model)
    classifier.read_as(text_column=text, label_column=label, encoding=encoding)
    found = classifier.evaluate(data)
    print(json.dumps(found.to_dict()) if as_json else found)
    if output is not None:
        _write_evaluation(found, output)
        print(f"wrote {output}", file=sys.stderr)


def _scores_line(scores: dict[str, Any], where: str) -> str:
    return (
        f"{where} ({scores['examples']:,}): accuracy {scores['accuracy']:.1%}, macro F1 {scores['macro_f1']:.3f}, "
        f"log loss {scores['log_loss']:.3f}, calibration error {scores['expected_calibration_error']:.1%} "
        f"(always the most frequent label: {scores['majority_accuracy']:.1%})"
    )


def _explain(classifier: Classifier, data: Path, label: str | None, output: Path | None) -> None:
    """To the screen the first few, into a file all."""
    items = classifier.read(data).items
    found = classifier.explain(items if output else items[:_EXPLAINED], label)
    if output is None:
        for item, one in zip(items, found, strict=False):
            print(item if isinstance(item, str) else f"series of {len(item)} steps", one, "", sep="\n")
        if len(items) > len(found):
            print(f"... {len(items) - len(found):,} more; --output FILE.html explains all")
        return
    write_text(page(found) if output.suffix.lower() == ".html" else "\n\n".join(map(str, found)), output)
    print(f"wrote {len(found):,} explanations to {output}", file=sys.stderr)


def _write_evaluation(found: Evaluation, output: Path) -> None:
    ending = output.suffix.lower()
    if ending in _PLOTS:
        draw(lambda evaluation: draw_confusion(evaluation.confusion, evaluation.labels), found, output)
    elif ending == ".json":
        write_text(json.dumps(found.to_dict(), indent=1, ensure_ascii=False), output)
    else:
        rows = [{"label": name, **scores} for name, scores in found.to_dict()["classes"].items()]
        write_rows(rows, output, str(found))


def _shown(row: dict[str, Any]) -> str:
    """The example itself, on one line."""
    text = " ".join(str(row.get("text", row.get("series", ""))).split())
    return text if len(text) <= 80 else text[:79] + "…"


def _show(lines: Iterator[str]) -> None:
    print(*islice(lines, _ROWS_SHOWN), sep="\n")
    left = list(islice(lines, 2))
    if len(left) == 2:
        left = [f"... {2 + sum(1 for _ in lines):,} more; --output FILE.csv keeps all"]
    print(*left, sep="\n", end="\n" * len(left))
