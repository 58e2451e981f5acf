"""The command line: ``lstmkit VERB ...``, one file per verb, imported only when its verb is used."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from difflib import get_close_matches
from importlib import import_module

from lstmkit import __version__
from lstmkit.spec import EXTRAS, LSTMKitError, MissingExtraError, install_command, is_main_process, process_number

__all__ = ["VERBS", "main"]

# verb -> one line of help; lstmkit.cli.<verb> holds a Typer application called ``app``. Only doctor needs no typer.
VERBS: dict[str, str] = {
    "classify": "train, predict with, explain and evaluate classifiers of texts and series",
    "forecast": "train, predict with and evaluate forecasters of time series",
    "tag": "train, predict with and evaluate taggers of words: parts of speech, entities, slots and intents",
    "translate": "train, predict with and evaluate translators, and other pairs of sequences",
    "lm": "train language models, let them write, and score texts",
    "tune": "search for the options with which a task's model is best",
    "convert": "models of Keras, ONNX and torch in and out",
    "doctor": "what is installed, which engines and instruction sets work, what is missing",
}

_USAGE_ERROR = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words after ``lstmkit``. Default: those of the process.

    Returns:
        The exit code: 0; 1 if the input or the model is at fault (one sentence on standard error);
        2 if the command was misused; 130 if it was interrupted.

    Example:
        >>> main(["--version"])
        lstmkit 0.1.0
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = os.environ.get("LSTMKIT_DEBUG", "") not in ("", "0")
    if words[:1] == ["--debug"]:
        debug = True
        words = words[1:]
    try:
        with nullcontext() if is_main_process() else _silence():
            return _run(words)
    except LSTMKitError as error:
        if debug:
            raise
        number = process_number()
        return _complain(f"lstmkit{f' (process {number})' if number else ''}: {error}", 1)
    except KeyboardInterrupt:
        return _complain("lstmkit: interrupted", _INTERRUPTED) if is_main_process() else _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; a last flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextmanager
def _silence() -> Iterator[None]:
    """Of several processes that train one model together, only the main one prints; another says why it fails."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _run(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h"):
        print(_help())
        return 0 if words else _USAGE_ERROR
    verb, *rest = words
    if verb == "--version":
        print(f"lstmkit {__version__}")
        return 0
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(VERBS)}"
        return _complain(f"lstmkit: there is no command {verb!r}; {hint}", _USAGE_ERROR)
    return _run_verb(verb, rest)


def _run_verb(verb: str, words: list[str]) -> int:
    if verb == "doctor":
        from lstmkit.cli import doctor

        return doctor.run(words)
    try:
        return _run_typer(verb, words)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = next((name for name in (verb, *words[:1], "text") if package in EXTRAS.get(name, ())), None)
        if extra is None:
            raise
        needs = f"'lstmkit {verb}' needs the package {package!r}, which is not installed"
        raise MissingExtraError(f"{needs}; run: {install_command(extra)}") from error


def _run_typer(verb: str, words: list[str]) -> int:
    typer = import_module("typer")
    module = import_module(f"lstmkit.cli.{verb}")
    command = typer.main.get_command(module.build(*words[:1]) if verb == "tune" else module.app)
    try:
        command(args=words, prog_name=f"lstmkit {verb}")
    except SystemExit as leaving:
        if leaving.code == _INTERRUPTED:
            raise KeyboardInterrupt from None
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def _help() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {line}" for verb, line in VERBS.items())
    return (
        "usage: lstmkit [--version] [--help] [--debug] COMMAND ...\n\n"
        f"commands:\n{verbs}\n\n"
        "lstmkit COMMAND --help shows the options of one. --debug, or LSTMKIT_DEBUG=1, shows where an error arose."
    )


def _complain(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
