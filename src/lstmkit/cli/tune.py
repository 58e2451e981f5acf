"""``lstmkit tune TASK``: train a task's model again and again with other options, and keep the best."""

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from lstmkit.cli.common import AsJson, ModelOutput, Quiet, Seed, check_place, command, option
from lstmkit.cli.tuned import FileShelf, Trained, trials_text
from lstmkit.features.text_choice import is_file as is_tokenizer
from lstmkit.training import SearchResult, search

# task -> its room, whose search.py says what may be tried
TASKS = {
    "classify": "classification",
    "forecast": "forecasting",
    "lm": "language_modelling",
    "tag": "tagging",
    "translate": "translation",
}
# Options of fit that are the search's own, or that make no sense for many trainings.
_NOT_FITS = ("output", "time_limit", "seed", "quiet", "checkpoint", "log")
_OPTIONS = {
    "time_limit": "--time-limit",
    "trials must": "--trials must",
    "or trials": "or --trials",
    "another name for the study": "another --study",
}


def build(task: str | None = None) -> typer.Typer:
    """The verb; of its commands the one that is wanted has the options of that task's ``fit``, and the others none."""
    app = typer.Typer(
        help="Search for the options with which a task's model is best, and keep that model.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(lambda: None)
    for name in TASKS:
        body = _tune(name) if name == task else lambda: None
        body.__doc__ = f"Search for the best options of 'lstmkit {name} fit', whose other options are given as there."
        command(app, _OPTIONS, name)(body)
    return app


def tune(
    output: ModelOutput,
    time_limit: Annotated[float | None, option("--time-limit", help="Minutes that the search may take.")] = None,
    trials: Annotated[int | None, option("--trials", help="How many models to train.")] = None,
    storage: Annotated[
        str | None,
        option("--storage", help="File or URL of a database: run again to go on, from several machines to share."),
    ] = None,
    study: Annotated[str, option("--study", help="Name of the study in the storage.")] = "lstmkit",
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    task: str,
    fit: Callable[..., None],
    context: typer.Context,
    given: Mapping[str, Any],
) -> None:
    """Search, and say what was found."""
    check_place(output)
    room = import_module(f"lstmkit.tasks.{TASKS[task]}.search")
    fixed = {name: value for name, value in given.items() if not _is_default(context, name)}
    space = {name: values for name, values in room.SEARCH.items() if name not in fixed}
    given = {**given, **getattr(room, "WITHOUT", {}), **fixed}
    message: Callable[[str], None] = (lambda text: None) if quiet else partial(print, file=sys.stderr, flush=True)
    message("a score is a loss on what is held back: lower is better")
    with TemporaryDirectory() as folder:
        result = search(
            partial(_train, fit, {**given, "output": Path(folder) / "model.safetensors", "seed": seed, "quiet": True}),
            space,
            start={name: given[name] for name in space},
            time_limit=time_limit,
            trials=trials,
            storage=storage,
            study=study,
            seed=seed,
            identity={"task": task, "seed": seed, **{name: _described(value) for name, value in fixed.items()}},
            shelf=(shelf := FileShelf(output)),
            message=message,
        )
    if as_json:
        print(json.dumps({"best": result.best and asdict(result.best), "trials": [*map(asdict, result.trials)]}))
    elif not quiet:
        print(trials_text(result.trials, result.best))
    if not quiet:
        print(_saved(result, shelf, output), file=sys.stderr)
    if result.interrupted:
        raise KeyboardInterrupt


def _tune(task: str) -> Callable[..., None]:
    """The command of one task: the options of its fit, then those of the search."""
    fit = import_module(f"lstmkit.cli.{task}").fit
    ours = [p for p in inspect.signature(tune).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    theirs = [p for p in inspect.signature(fit, eval_str=True).parameters.values() if p.name not in _NOT_FITS]
    names = {p.name for p in ours}

    def body(context: typer.Context, **options: Any) -> None:
        own = {name: value for name, value in options.items() if name in names}
        given = {name: value for name, value in options.items() if name not in names}
        tune(**own, task=task, fit=fit, context=context, given=given)

    first = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [first, *(p.replace(kind=p.KEYWORD_ONLY) for p in (*theirs, *ours))]
    body.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    return body


def _train(
    fit: Callable[..., None], given: Mapping[str, Any], tried: Mapping[str, Any], minutes: float | None
) -> Trained:
    """One training, by the task's own command; after Ctrl-C it has saved what there was."""
    path: Path = given["output"]
    path.unlink(missing_ok=True)
    try:
        fit(**{**given, **tried, "time_limit": minutes, "checkpoint": None, "log": None})
    except KeyboardInterrupt:
        if not path.exists():
            raise
        return Trained(path, interrupted=True)
    return Trained(path, interrupted=False)


def _is_default(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is None or source.name == "DEFAULT"


def _described(value: Any) -> Any:
    """A fixed option as a study remembers it: a file by name and size, so that machines agree and other data do not."""
    if isinstance(value, list | tuple):
        return [_described(item) for item in value]
    if is_tokenizer(value):
        value = Path(value)
    if isinstance(value, Path):
        return [value.name, value.stat().st_size if value.is_file() else None]
    return value


def _saved(result: SearchResult, shelf: FileShelf, output: Path) -> str:
    """The last sentence."""
    best, held = result.best, shelf.score(result.study)
    if best is None or best.score is None:
        return "no training was completed, so nothing is saved"
    named = f"trial {best.number} with {best.score:.5g}"
    if held is None or best.score < held:
        here = "nothing is saved here" if held is None else f"saved {output}, with {held:.5g}"
        return f"{here}; the best of the study, {named}, is in {best.place}"
    return f"saved {output}, the best model{' so far' if result.interrupted else ''}: {named}"
