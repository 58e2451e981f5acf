"""What the verbs of all tasks share: options, errors that speak of options, results as files."""

import csv
import io
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Annotated, Any, Generic, TypeVar

import typer

from lstmkit.spec import LSTMKitError, OptionError, atomic_write, import_extra

Item = TypeVar("Item")

RESULTS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt")


def option(*names: str, help: str) -> Any:
    """An option of a command."""
    return typer.Option(*names, help=help)


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that fit saved.")]
ModelOutput = Annotated[Path, option("--output", "-o", help="Where the model goes (.safetensors).")]
TimeLimit = Annotated[float | None, option("--time-limit", help="Minutes that training may take.")]
Checkpoint = Annotated[Path | None, option("--checkpoint", help="File from which a killed training goes on.")]
Log = Annotated[Path | None, option("--log", help="File for JSON lines about the training.")]
Seed = Annotated[int, option("--seed", help="Of the weights and of what is drawn in training.")]
Quiet = Annotated[bool, option("--quiet", "-q", help="Print nothing.")]
AsJson = Annotated[bool, option("--json", help="Print one JSON object.")]
TOKENIZER = "or a tokenizer.json of Hugging Face tokenizers"
Encoding = Annotated[str, option("--encoding", help="Of text files: utf-8, latin-1, utf-16 ...")]


def command(
    app: typer.Typer, renames: Mapping[str, str], name: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make functions commands whose errors name the options of the command line.

    Args:
        app: The verb.
        renames: How an argument is called in errors -> how its option is.
        name: Of the command, where it is not the function's.
    """

    def register(body: Callable[..., None]) -> Callable[..., None]:
        @wraps(body)
        def run(*arguments: Any, **options: Any) -> None:
            try:
                body(*arguments, **options)
            except LSTMKitError as error:
                message = str(error)
                for argument, name in renames.items():
                    message = message.replace(argument, name)
                raise type(error)(message) from None

        return app.command(name)(run)

    return register


def check_place(output: Path) -> None:
    """Better to hear before the training than after it that its result has no place to go."""
    if output.is_dir():
        raise OptionError(
            f"--output {output} is a folder; give the name of a file, such as {output / 'model.safetensors'}"
        )
    if not output.absolute().parent.is_dir():
        raise LSTMKitError(f"the folder {output.parent} does not exist; make it, or give another --output")
    try:
        TemporaryFile(dir=output.absolute().parent).close()
    except OSError as error:
        raise LSTMKitError(f"cannot write to the folder {output.absolute().parent}: {error.strerror}") from None


def check_ending(output: Path | None, allowed: Sequence[str]) -> None:
    """Refuse the name of a result before any work is done for it.

    Raises:
        OptionError: it ends in something else.
    """
    if output is not None and output.suffix.lower() not in allowed:
        raise OptionError(f"--output must end in one of {', '.join(allowed)}, not {output.suffix.lower() or 'nothing'}")


def write_text(text: str, output: Path) -> None:
    """Write a text with a line end, whole or not at all."""
    with atomic_write(output) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


class Counted(Generic[Item]):
    """Items as they come, and how many have come."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items, self.count = items, 0

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            self.count += 1
            yield item


def write_lines(lines: Iterable[str], output: Path) -> None:
    """Write lines as they come, whole or not at all."""
    with atomic_write(output) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in lines)


def write_rows(rows: Iterable[Mapping[str, Any]], output: Path, text: str = "") -> None:
    """Write a result by the ending of its name, whole or not at all; ``.csv``, ``.tsv``, ``.jsonl`` row by row.

    Args:
        rows: One mapping of names to plain values for each row, all with the same names.
        output: Ends in one of ``RESULTS``.
        text: What ``.txt`` holds.
    """
    ending = output.suffix.lower()
    if ending == ".parquet":
        table = import_extra("pyarrow", "text").Table.from_pylist(list(rows))
        with atomic_write(output) as temporary:
            import_extra("pyarrow.parquet", "text").write_table(table, temporary)
    elif ending == ".json":
        write_text(json.dumps(list(rows), indent=1, ensure_ascii=False), output)
    elif ending == ".jsonl":
        write_lines((json.dumps(row, ensure_ascii=False) for row in rows), output)
    elif ending in (".csv", ".tsv"):
        write_lines(_separated(rows, "\t" if ending == ".tsv" else ","), output)
    else:
        write_text(text, output)


def _separated(rows: Iterable[Mapping[str, Any]], separator: str) -> Iterator[str]:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, lineterminator="")
    for number, row in enumerate(rows):
        for cells in (row.values(),) if number else (row.keys(), row.values()):
            writer.writerow(cells)
            yield stream.getvalue()
            stream.seek(0)
            stream.truncate()


def draw(picture: Callable[..., Any], content: Any, output: Path) -> None:
    """Save a plot; where matplotlib has no cache yet, it gets a passing one rather than one in the user's home.

    Args:
        picture: Makes the figure.
        content: What it is made of.
        output: Ends in ``.png``, ``.svg`` or ``.pdf``.
    """
    from lstmkit.plots import save_figure

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with TemporaryDirectory() as passing:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matplotlib"
        if not home.is_dir():
            os.environ.setdefault("MPLCONFIGDIR", passing)
        save_figure(picture(content), output)
