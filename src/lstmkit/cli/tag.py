"""``lstmkit tag``: train, predict with and evaluate a tagger of words."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from lstmkit.cli.common import (
    RESULTS,
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
    option,
    write_lines,
    write_rows,
    write_text,
)
from lstmkit.features import are_span_tags
from lstmkit.runtime import Tagged
from lstmkit.tasks.tagging import Tagger
from lstmkit.tasks.tagging.report import sentence_conll, sentence_object, sentence_rows, sentence_text

app = typer.Typer(
    help="Tag words with an LSTM, and label sentences beside it: fit, predict, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_SHOWN = 20
_LINES = {".txt": sentence_text, ".conll": sentence_conll}
_CONLLU = ".conllu"
_ENDINGS = (*RESULTS, ".conll", _CONLLU)

_DATA_HELP = "CoNLL or CoNLL-U (.conllu) files; comments '# intent = X' label sentences."
Data = Annotated[list[Path], typer.Argument(metavar="DATA...", help=_DATA_HELP)]
_command = command(app, {"column=": "--column ", "encoding=": "--encoding "})


@_command
def fit(
    data: Data,
    output: ModelOutput,
    column: Annotated[str, option("--column", help="Of the tags: a number from 1, upos, xpos, ..., or last.")] = "last",
    valid: Annotated[
        Path | None, option("--valid", help="More sentences, to judge by and never learn from; else a tenth of DATA.")
    ] = None,
    crf: Annotated[bool, option("--crf/--no-crf", help="Judge the tags of a sentence together, or each alone.")] = True,
    lowercase: Annotated[bool, option("--lowercase", help="Capitals mean nothing in these texts.")] = False,
    hidden_size: Annotated[int, option("--hidden-size", help="Units of the LSTM, per direction.")] = 128,
    num_layers: Annotated[int, option("--num-layers", help="Layers of the LSTM.")] = 1,
    dropout: Annotated[float, option("--dropout", help="Part of what was read that is dropped in training.")] = 0.5,
    language_modelling: Annotated[
        float, option("--language-modelling", help="How much it counts that words foretell each other.")
    ] = 0.1,
    batch_size: Annotated[int, option("--batch-size", help="Sentences of a training step.")] = 32,
    learning_rate: Annotated[float, option("--learning-rate", help="The highest one.")] = 3e-3,
    max_epochs: Annotated[int | None, option("--max-epochs", help="Passes over the sentences, usually 20.")] = None,
    time_limit: TimeLimit = None,
    checkpoint: Checkpoint = None,
    log: Log = None,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a tagger and print its scores on sentences that it was not trained on."""
    tagger = Tagger(
        column,
        crf=crf,
        lowercase=lowercase,
        hidden_size=hidden_size,
        num_layers=num_layers,
        dropout=dropout,
        language_modelling=language_modelling,
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
    tagger.fit(data, validation=valid, encoding=encoding)
    tagger.save(output)
    if not quiet:
        if tagger.judged is not None:
            print("On sentences held back in training:", tagger.judged, sep="\n")
        print(f"saved {output}{', the best model so far' if tagger.interrupted else ''}", file=sys.stderr)
    if tagger.interrupted:
        raise KeyboardInterrupt


@_command
def predict(
    model: Model,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A .txt file with a sentence a line, or CoNLL, whose words are read.")
    ],
    output: Annotated[
        Path | None, option("--output", "-o", help="A file: .csv .tsv .json .jsonl .parquet .conll .conllu .txt")
    ] = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Tag the sentences of DATA; offsets are characters of each sentence's text."""
    check_ending(output, _ENDINGS)
    tagger = Tagger.load(model)
    sentences = tagger.predict_file(data, encoding=encoding)
    if output is None:
        _show(sentences)
        return
    if output.suffix.lower() == _CONLLU:
        count = _write_conllu(tagger.conllu_lines(data, encoding=encoding), output)
    else:
        count = _write(sentences, output, spans=are_span_tags(tagger.model.config.tags.names))
    print(f"wrote {count:,} tagged sentences to {output}", file=sys.stderr)


@_command
def evaluate(
    model: Model,
    data: Data,
    output: Annotated[Path | None, option("--output", "-o", help="A file: .json or .txt")] = None,
    as_json: AsJson = False,
    encoding: Encoding = "utf-8",
) -> None:
    """Score a model on tagged sentences: accuracy, and spans as conlleval counts them."""
    check_ending(output, (".json", ".txt"))
    found = Tagger.load(model).evaluate(data, encoding=encoding)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else found)
    if output is not None:
        write_text(str(found) if output.suffix.lower() == ".txt" else json.dumps(found.to_dict(), indent=1), output)
        print(f"wrote {output}", file=sys.stderr)


def _show(sentences: Iterator[Tagged]) -> None:
    for tagged in islice(sentences, _SHOWN):
        print(sentence_text(tagged))
    if left := sum(1 for _ in sentences):
        print(f"... {left:,} more sentences; --output FILE.txt keeps all")


def _write(sentences: Iterator[Tagged], output: Path, *, spans: bool) -> int:
    """Write by the ending of the name, and sentence by sentence where the format lets us; how many there were."""
    ending, found = output.suffix.lower(), Counted(sentences)
    numbered = enumerate(found, 1)
    if ending in _LINES:
        write_lines(map(_LINES[ending], found), output)
    elif ending in (".json", ".jsonl"):
        write_rows((sentence_object(*pair) for pair in numbered), output)
    else:
        write_rows((row for pair in numbered for row in sentence_rows(*pair, spans=spans)), output)
    return found.count


def _write_conllu(lines: Iterator[str], output: Path) -> int:
    """Write line by line; how many sentences there were, each with an empty line behind it."""
    count = 0

    def counted() -> Iterator[str]:
        nonlocal count
        for line in lines:
            count += not line
            yield line

    write_lines(counted(), output)
    return count
