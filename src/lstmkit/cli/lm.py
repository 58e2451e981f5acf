"""``lstmkit lm``: train a language model, let it write, and score texts with it."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lstmkit.cli.common import (
    RESULTS,
    TOKENIZER,
    AsJson,
    Checkpoint,
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
    write_rows,
)
from lstmkit.data import read_lines
from lstmkit.features import Sampler
from lstmkit.spec import OptionError
from lstmkit.tasks.language_modelling import LanguageModel

app = typer.Typer(
    help="Language models: learn a text, write on in its manner, score texts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Data = Annotated[
    list[Path],
    typer.Argument(metavar="DATA...", help="Texts; in .csv, .tsv, .json and .jsonl one column is the text."),
]
Column = Annotated[str, option("--column", help="Column of the text, where it comes in tables.")]

_NAMES = {
    "vocabulary_size": "--vocabulary-size",
    "min_count": "--min-count",
    "level must": "--level must",
    "lowercase is": "--lowercase is",
    "split_punctuation is": "--spaces-only is",
    "embedding_size": "--embedding-size",
    "hidden_size": "--hidden-size",
    "num_layers": "--layers",
    "batch_size": "--streams",
    "streams must": "--streams must",
    "steps must": "--bptt must",
    "epochs must": "--epochs must",
    "adaptive": "--adaptive",
    "learning_rate": "--learning-rate",
    "time_limit": "--time-limit",
    "encoding=": "--encoding=",
    "top_k": "--top-k",
    "top_p": "--top-p",
}
_command = command(app, _NAMES)


@_command
def fit(
    data: Data,
    output: ModelOutput,
    valid: Annotated[
        list[Path] | None, option("--valid", help="Text to judge by and never learn from; else the last 5 % of DATA.")
    ] = None,
    level: Annotated[str, option("--level", help=f"What is foretold: word, bpe or character, {TOKENIZER}.")] = "word",
    recipe: Annotated[
        str, option("--recipe", help="default suits the level; small: Zaremba 2014; awd: Merity 2017.")
    ] = "default",
    vocabulary_size: Annotated[int | None, option("--vocabulary-size", help="Tokens at most.")] = None,
    min_count: Annotated[int, option("--min-count", help="Rarer words and characters are unknown ones.")] = 1,
    lowercase: Annotated[bool, option("--lowercase", help="Take upper and lower case for the same.")] = False,
    split_punctuation: Annotated[
        bool,
        option("--split-punctuation/--spaces-only", help="Whether words end at punctuation too; PTB: --spaces-only."),
    ] = True,
    embedding_size: Annotated[int | None, option("--embedding-size", help="Features of a token.")] = None,
    hidden_size: Annotated[int | None, option("--hidden-size", help="Units of a layer.")] = None,
    layers: Annotated[int | None, option("--layers", help="Layers of the LSTM.")] = None,
    dropout: Annotated[float | None, option("--dropout", help="Part of the features that is dropped.")] = None,
    adaptive: Annotated[
        int | None, option("--adaptive", help="Frequent tokens of an adaptive softmax, for large vocabularies.")
    ] = None,
    streams: Annotated[int | None, option("--streams", help="Parts of the text that are read side by side.")] = None,
    steps: Annotated[int | None, option("--bptt", help="Tokens over which the gradient goes back.")] = None,
    epochs: Annotated[int | None, option("--epochs", help="Passes over the text.")] = None,
    max_steps: Annotated[int | None, option("--max-steps", help="Training steps.")] = None,
    learning_rate: Annotated[float | None, option("--learning-rate", help="Highest learning rate.")] = None,
    validate_every: Annotated[
        int | None, option("--validate-every", help="Steps between validations; by default one after each pass.")
    ] = None,
    patience: Annotated[
        int | None, option("--patience", help="Stop after so many validations that were no better.")
    ] = None,
    time_limit: TimeLimit = None,
    checkpoint: Checkpoint = None,
    log: Log = None,
    column: Column = "text",
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Learn a text, and print the scores on text that was not learned from."""
    model = LanguageModel(
        level,
        recipe=recipe,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        lowercase=lowercase,
        split_punctuation=split_punctuation,
        embedding_size=embedding_size,
        hidden_size=hidden_size,
        num_layers=layers,
        dropout=dropout,
        adaptive=adaptive,
        batch_size=streams,
        steps=steps,
        max_epochs=epochs,
        max_steps=max_steps,
        learning_rate=learning_rate,
        validate_every=validate_every,
        patience=patience,
        time_limit=time_limit,
        checkpoint=checkpoint,
        log=log,
        column=column,
        encoding=encoding,
        seed=seed,
        quiet=quiet,
    )
    check_place(output)
    model.fit(data, validation=valid)
    model.save(output)
    if not quiet:
        print("On the text held back in training:", model.validation, sep="\n")
        print(f"saved {output}{', the best model so far' if model.interrupted else ''}", file=sys.stderr)
    if model.interrupted:
        raise KeyboardInterrupt


@_command
def predict(
    model: Model,
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="A text with a prompt in each line, instead of --prompt.")
    ] = None,
    prompt: Annotated[str, option("--prompt", "-p", help="What stands before; it may be empty.")] = "",
    length: Annotated[int, option("--length", "-n", help="Tokens to write.")] = 500,
    temperature: Annotated[
        float, option("--temperature", "-t", help="Below 1 safer, above 1 bolder; 0: always the most probable.")
    ] = 1.0,
    top_k: Annotated[int | None, option("--top-k", help="Draw from so many of the most probable tokens.")] = None,
    top_p: Annotated[
        float | None, option("--top-p", help="Draw from the fewest tokens of this probability together.")
    ] = None,
    beam: Annotated[
        int | None, option("--beam", help="Search for the most probable text with so many continuations.")
    ] = None,
    seed: Annotated[int | None, option("--seed", help="Repeats what was drawn.")] = None,
    precision: Annotated[
        str, option("--precision", help="float32, or bfloat16 and int8, which are faster.")
    ] = "float32",
    output: Annotated[
        Path | None, option("--output", "-o", help=f"A file for prompts and continuations: {' '.join(RESULTS)}")
    ] = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Write what could follow a prompt; it appears as it is written."""
    check_ending(output, RESULTS)
    if data is not None and prompt:
        raise OptionError("give prompts in a file or one with --prompt, not both")
    written = LanguageModel.load(model)
    drawing: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    if data is None and output is None and beam is None:
        _write_out(written, prompt, length, Sampler(**drawing), precision)
        return
    prompts = [prompt] if data is None else list(read_lines(data, encoding))
    rows = [
        {"prompt": each, "text": written.generate(each, length, beam=beam, precision=precision, **drawing)}
        for each in prompts
    ]
    text = "\n\n".join(row["prompt"] + row["text"] for row in rows)
    if output is None:
        print(text)
        return
    write_rows(rows, output, text)
    print(f"wrote {len(rows):,} continuations to {output}", file=sys.stderr)


@_command
def evaluate(
    model: Model,
    data: Data,
    as_json: AsJson = False,
    dynamic: Annotated[
        bool, option("--dynamic", help="Go on learning from the text while it is scored; needs torch.")
    ] = False,
    output: Annotated[
        Path | None, option("--output", "-o", help=f"A file for the scores of each text: {' '.join(RESULTS)}")
    ] = None,
    column: Column = "text",
    encoding: Encoding = "utf-8",
) -> None:
    """Score DATA, read as one text: perplexity, bits per character, nats per token."""
    check_ending(output, RESULTS)
    scored = LanguageModel.load(model)
    scored.column, scored.encoding = column, encoding
    evaluation = scored.evaluate(data, dynamic=dynamic)
    print(json.dumps(evaluation.to_dict()) if as_json else evaluation)
    if output is not None:
        rows = [{"file": str(path), **scored.evaluate(path, dynamic=dynamic).to_dict()} for path in data]
        write_rows(rows, output, str(evaluation))
        print(f"wrote {output}", file=sys.stderr)


def _write_out(model: LanguageModel, prompt: str, length: int, sampler: Sampler, precision: str) -> None:
    """To the terminal, as it comes; Ctrl-C ends it behind what is written."""
    pieces = model.write(prompt, length, sampler, precision)
    sys.stdout.write(prompt)
    try:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    finally:
        sys.stdout.write("\n")
        sys.stdout.flush()
