"""``lstmkit translate``: train, predict with and evaluate a translator of sentences or other sequences."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from lstmkit.cli.common import (
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
)
from lstmkit.data import Pairs, parts, read_lines, read_pairs, read_parallel
from lstmkit.plots import AlignmentPanel, draw_alignments
from lstmkit.runtime import Translation
from lstmkit.spec import DataError, OptionError
from lstmkit.tasks.translation import LEVELS, Translator
from lstmkit.tasks.translation.evaluation import scores_text

app = typer.Typer(
    help="Translate sentences, spell words in sounds, inflect them: fit, predict, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_TABLES = (".txt", ".tsv", ".csv", ".json", ".jsonl", ".parquet")
_PLOTS = (".png", ".svg", ".pdf")
_MOST_DRAWN = 6
# Lines that are translated together; what comes from a terminal is answered at once.
_TOGETHER = 1024

# Errors speak of the arguments of Translator; on the command line these have other names.
_OPTIONS = {
    "encoding=": "--encoding ",
    "level must": "--level must",
    "size is": "--size is",
    "lowercase is": "--lowercase is",
    "n_best": "--n-best",
    "beam=": "--beam ",
    "beam must": "--beam must",
    "length_penalty": "--length-penalty",
    "coverage_penalty": "--coverage-penalty",
    "hidden_size": "--hidden-size",
    "embedding_size": "--embedding-size",
    "num_layers": "--num-layers",
    "max_steps": "--max-steps",
    "batch_size": "--batch-size",
    "consistency must": "--consistency must",
}

_command = command(app, _OPTIONS)
_LEVELS = ", ".join(LEVELS)

Data = Annotated[
    Path | None, typer.Argument(metavar="PAIRS.tsv", help="Lines of source, tab, target; .gz is unpacked.")
]
Source = Annotated[Path | None, option("--source", help="In place of PAIRS.tsv: a text, one source a line ...")]
Target = Annotated[Path | None, option("--target", help="... and the text whose lines belong to them.")]
Beam = Annotated[int, option("--beam", help="Answers that are followed side by side; 1 is greedy.")]
LengthPenalty = Annotated[float, option("--length-penalty", help="0 favours short answers, 1 does not.")]
CoveragePenalty = Annotated[
    float, option("--coverage-penalty", help="How much it costs to leave parts of the source unread; 0.2 is usual.")
]


@_command
def fit(
    output: ModelOutput,
    pairs: Data = None,
    source: Source = None,
    target: Target = None,
    valid: Annotated[Path | None, option("--valid", help="Pairs to judge by and never learn from.")] = None,
    valid_source: Annotated[
        Path | None, option("--valid-source", help="The same as two texts: the sources ...")
    ] = None,
    valid_target: Annotated[Path | None, option("--valid-target", help="... and the targets.")] = None,
    level: Annotated[
        str | None,
        option("--level", help=f"How texts are cut into tokens: {_LEVELS}, {TOKENIZER}. Default: chosen by the texts."),
    ] = None,
    source_level: Annotated[str | None, option("--source-level", help="Of the source, where it differs.")] = None,
    target_level: Annotated[str | None, option("--target-level", help="Of the target, where it differs.")] = None,
    size: Annotated[int | None, option("--size", help="Tokens of a vocabulary; 8,000 pieces by default.")] = None,
    joint: Annotated[bool, option("--joint", help="Source and target share a vocabulary.")] = False,
    lowercase: Annotated[bool, option("--lowercase", help="Upper and lower case are the same to the model.")] = False,
    hidden_size: Annotated[int, option("--hidden-size", help="Units of each LSTM layer and direction.")] = 256,
    embedding_size: Annotated[int, option("--embedding-size", help="Features of a token.")] = 256,
    num_layers: Annotated[int, option("--num-layers", help="Layers of the encoder.")] = 1,
    attention: Annotated[str, option("--attention", help="multiplicative or additive.")] = "multiplicative",
    dropout: Annotated[float, option("--dropout", help="Part of the values dropped in training.")] = 0.3,
    consistency: Annotated[
        float, option("--consistency", help="How much two readings of a pair should agree; 5 is usual, 0 reads once.")
    ] = 0.0,
    max_steps: Annotated[int, option("--max-steps", help="Training steps.")] = 5000,
    batch_size: Annotated[int, option("--batch-size", help="Pairs of a training step.")] = 64,
    learning_rate: Annotated[float, option("--learning-rate", help="The highest one.")] = 3e-3,
    encoding: Encoding = "utf-8",
    time_limit: TimeLimit = None,
    checkpoint: Checkpoint = None,
    log: Log = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a translator and print its scores on pairs that it was not trained on."""
    translator = Translator(
        level=level,
        source_level=source_level,
        target_level=target_level,
        size=size,
        joint=joint,
        lowercase=lowercase,
        hidden_size=hidden_size,
        embedding_size=embedding_size,
        num_layers=num_layers,
        attention=attention,
        dropout=dropout,
        consistency=consistency,
        max_steps=max_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        time_limit=time_limit,
        checkpoint=checkpoint,
        log=log,
        seed=seed,
        quiet=quiet,
    )
    check_place(output)
    training = _read(pairs, source, target, encoding, quiet)
    held_back = None
    if valid or valid_source or valid_target:
        held_back = _read(valid, valid_source, valid_target, encoding, quiet, "valid-")[:2]
    translator.fit(training.sources, training.targets, validation=held_back)
    translator.save(output)
    if not quiet:
        if translator.scores:
            print("On the pairs held back in training:", scores_text(translator.scores), sep="\n")
        print(
            f"level of the sources: {translator.levels.source}; of the targets: {translator.levels.target}",
            file=sys.stderr,
        )
        print(f"saved {output}{', the best model so far' if translator.interrupted else ''}", file=sys.stderr)
    if translator.interrupted:
        raise KeyboardInterrupt


@_command
def predict(
    model: Model,
    text: Annotated[
        Path, typer.Argument(metavar="TEXT", help="One source a line; .gz is unpacked; - is standard input.")
    ],
    output: Annotated[
        Path | None, option("--output", "-o", help=f"A file: {' '.join(_TABLES)}, or .png of the alignments.")
    ] = None,
    beam: Beam = 5,
    n_best: Annotated[int, option("--n-best", help="Answers for each source, best first.")] = 1,
    length_penalty: LengthPenalty = 1.0,
    coverage_penalty: CoveragePenalty = 0.0,
    encoding: Encoding = "utf-8",
) -> None:
    """Translate TEXT line by line; an empty line has an empty answer."""
    check_ending(output, (*_TABLES, *_PLOTS))
    translator = Translator.load(model)
    search: dict[str, Any] = {
        "beam": beam,
        "n_best": n_best,
        "length_penalty": length_penalty,
        "coverage_penalty": coverage_penalty,
    }
    lines = _standard_input() if str(text) == "-" else read_lines(text, encoding)
    plot = output is not None and output.suffix.lower() in _PLOTS
    together = 1 if output is None and str(text) == "-" and sys.stdin.isatty() else _TOGETHER
    found = Counted(
        (source, answers)
        for part in parts(islice(lines, _MOST_DRAWN) if plot else lines, together)
        for source, answers in zip(part, translator.translations(part, **search), strict=True)
    )
    if output is None:
        for _, answers in found:
            print(_line(answers, n_best), flush=True)
        return
    if plot:
        drawn = [_panel(answer) for source, answers in found for answer in answers if source.strip()]
        if not drawn:
            raise DataError(f"the first lines of {text} are empty, so there is nothing to draw")
        draw(draw_alignments, drawn[:_MOST_DRAWN], output)
    else:
        _write(found, output, n_best)
    print(f"wrote {found.count:,} translations to {output}", file=sys.stderr)


@_command
def evaluate(
    model: Model,
    pairs: Data = None,
    source: Source = None,
    target: Target = None,
    output: Annotated[
        Path | None, option("--output", "-o", help=f"A file with every answer: {' '.join(_TABLES)}")
    ] = None,
    as_json: AsJson = False,
    beam: Beam = 5,
    lowercase: Annotated[bool, option("--lowercase", help="BLEU takes upper and lower case for the same.")] = False,
    length_penalty: LengthPenalty = 1.0,
    coverage_penalty: CoveragePenalty = 0.0,
    encoding: Encoding = "utf-8",
) -> None:
    """Score the model's translations of PAIRS with BLEU and chrF, or with error rates where targets are symbols."""
    check_ending(output, _TABLES)
    translator = Translator.load(model)
    given = _read(pairs, source, target, encoding, quiet=True)
    search: dict[str, Any] = {"length_penalty": length_penalty, "coverage_penalty": coverage_penalty}
    evaluation = translator.evaluate(given.sources, given.targets, beam=beam, lowercase=lowercase, **search)
    print(json.dumps(evaluation.to_dict()) if as_json else evaluation)
    if output is not None:
        triples = zip(given.sources, given.targets, evaluation.answers, strict=True)
        rows = [{"source": source, "target": target, "answer": answer} for source, target, answer in triples]
        write_rows(rows, output, "\n".join(evaluation.answers))
        print(f"wrote {len(rows):,} answers to {output}", file=sys.stderr)


def _read(
    pairs: Path | None, source: Path | None, target: Path | None, encoding: str, quiet: bool, prefix: str = ""
) -> Pairs:
    """Pairs from one table or two texts."""
    if (pairs is None) == (source is None and target is None) or (source is None) != (target is None):
        table = "--valid PAIRS.tsv" if prefix else "PAIRS.tsv"
        raise OptionError(f"give {table}, or both --{prefix}source and --{prefix}target")
    if pairs is not None:
        found, names = read_pairs(pairs, encoding), str(pairs)
    else:
        assert source is not None
        assert target is not None
        found, names = read_parallel(source, target, encoding), f"{source} and {target}"
    if found.empty and not quiet:
        print(f"left out {found.empty:,} pairs of {names} with an empty side", file=sys.stderr)
    return found


def _standard_input() -> Iterator[str]:
    try:
        for line in sys.stdin:
            yield line.rstrip("\r\n")
    except UnicodeError:
        raise DataError("standard input is not in UTF-8; give a file and its --encoding") from None


def _write(found: Iterable[tuple[str, list[Translation]]], output: Path, n_best: int) -> None:
    """Write answers as they come, by the ending of the name."""
    if output.suffix.lower() == ".txt":
        write_lines((_line(answers, n_best) for _, answers in found), output)
    else:
        ranked = ((source, *best) for source, answers in found for best in enumerate(answers, 1))
        write_rows((_row(*one) for one in ranked), output)


def _line(answers: list[Translation], n_best: int) -> str:
    """One answer a line; several with their scores, and an empty line between sources."""
    if n_best == 1:
        return answers[0].text
    return "\n".join([*(f"{answer.score:.4f}\t{answer.text}" for answer in answers), ""])


def _row(source: str, rank: int, answer: Translation) -> dict[str, Any]:
    return {"source": source, "rank": rank, "answer": answer.text, "score": round(answer.score, 6)}


def _panel(answer: Translation) -> AlignmentPanel:
    return AlignmentPanel(answer.source_tokens, answer.tokens, answer.attention)
