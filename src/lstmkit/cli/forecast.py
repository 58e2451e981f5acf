"""``lstmkit forecast``: train, predict with and evaluate a forecaster of time series."""

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Annotated, Any

import typer

from lstmkit.data import write_table
from lstmkit.plots import ForecastPanel, draw_forecasts, save_figure
from lstmkit.spec import LSTMKitError, OptionError, atomic_write, import_extra
from lstmkit.tasks.forecasting import Evaluation, Forecaster
from lstmkit.tasks.forecasting.report import decimals, evaluation_text

app = typer.Typer(
    help="Forecast series of a table with an LSTM: fit, predict, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_ROWS_SHOWN = 60
_PLOTS = (".png", ".svg", ".pdf")
_TABLES = (".csv", ".tsv", ".json", ".parquet", ".pq")

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that fit saved.")]
Data = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA...", help="CSV or Parquet tables; later ones continue the series of earlier ones by id."
    ),
]
Level = Annotated[list[float], typer.Option("--level", help="Coverage of an interval in per cent; may be repeated.")]
Several = list[str] | None


def _option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help)


# Errors speak of the arguments of Forecaster; on the command line these have other names.
_OPTIONS = {
    "id_column=None": "--id ''",
    "id_column=": "--id",
    "time_column=": "--time",
    "target_column=": "--target",
    "frequency=": "--frequency",
    "known=": "--known",
    "observed=": "--observed",
    "static=": "--static",
    "as future": "with --future",
}


def _command(body: Callable[..., None]) -> Callable[..., None]:
    """A command whose errors name its options."""

    @wraps(body)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            body(*arguments, **options)
        except LSTMKitError as error:
            message = str(error)
            for argument, option in _OPTIONS.items():
                message = message.replace(argument, option)
            raise type(error)(message) from None

    return app.command()(run)


@_command
def fit(
    data: Data,
    horizon: Annotated[int, _option("--horizon", "-h", help="Steps ahead.")],
    output: Annotated[Path, _option("--output", "-o", help="Where the model goes (.safetensors).")],
    valid: Annotated[
        Path | None, _option("--valid", help="Rows that follow DATA, to judge by and never learn from.")
    ] = None,
    season: Annotated[int | None, _option("--season", help="Steps of a season; 1 for none.")] = None,
    history: Annotated[int | None, _option("--history", help="Steps of the past that the model sees.")] = None,
    frequency: Annotated[
        str | None, _option("--frequency", help="Step between rows: h, D, MS, 15min, or a number.")
    ] = None,
    id_column: Annotated[str, _option("--id", help="Column that tells series apart.")] = "unique_id",
    time_column: Annotated[str, _option("--time", help="Column of the time.")] = "ds",
    target: Annotated[Several, _option("--target", help="Column to forecast; repeat it for a wide table.")] = None,
    known: Annotated[Several, _option("--known", help="Covariate whose future is given; may be repeated.")] = None,
    observed: Annotated[Several, _option("--observed", help="Covariate of the past only; may be repeated.")] = None,
    static: Annotated[
        Several, _option("--static", help="Covariate that is constant for a series; may be repeated.")
    ] = None,
    returns: Annotated[bool, _option("--returns", help="The target is a price: model its returns.")] = False,
    max_steps: Annotated[int, _option("--max-steps", help="Training steps.")] = 1000,
    time_limit: Annotated[float | None, _option("--time-limit", help="Minutes that training may take.")] = None,
    checkpoint: Annotated[
        Path | None, _option("--checkpoint", help="File from which a killed training goes on.")
    ] = None,
    log: Annotated[Path | None, _option("--log", help="File for JSON lines about the training.")] = None,
    classical: Annotated[int, _option("--classical", help="Windows on which AutoETS is fitted to compare.")] = 20,
    seed: Annotated[int, _option("--seed", help="Of the weights and the windows.")] = 0,
    quiet: Annotated[bool, _option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:
    """Train a forecaster and print its scores on rows that it was not trained on."""
    targets = target or ["y"]
    forecaster = Forecaster(
        horizon,
        season=season,
        history=history,
        frequency=int(frequency) if frequency and frequency.isdigit() else frequency,
        known=known or (),
        observed=observed or (),
        static=static or (),
        id_column=id_column or None,
        time_column=time_column,
        target_column=targets[0] if len(targets) == 1 else targets,
        returns=returns,
        max_steps=max_steps,
        time_limit=time_limit,
        checkpoint=checkpoint,
        log=log,
        seed=seed,
        quiet=quiet,
    )
    _check_place(output)
    forecaster.fit(data, validation=valid, classical_windows=classical)
    forecaster.save(output)
    if not quiet:
        if forecaster.scores:
            print("On the rows held back in training:", evaluation_text(forecaster.scores), sep="\n")
        print(f"saved {output}{', the best model so far' if forecaster.interrupted else ''}", file=sys.stderr)
    if forecaster.interrupted:
        raise KeyboardInterrupt


@_command
def predict(
    model: Model,
    data: Data,
    output: Annotated[Path | None, _option("--output", "-o", help="A file: .csv .json .parquet .txt .png")] = None,
    future: Annotated[Path | None, _option("--future", help="Known covariates of the rows to be forecast.")] = None,
    h: Annotated[int | None, _option("--steps", help="Steps to forecast, at most the horizon.")] = None,
    level: Level = [80, 95],  # noqa: B006  typer copies it
) -> None:
    """Forecast what follows each series of DATA."""
    _check_ending(output)
    forecaster = Forecaster.load(model)
    frame = forecaster.predict(data, h, level, future=future)
    if output is None:
        print(_shortened(_frame_text(frame)))
        return
    if output.suffix.lower() in _PLOTS:
        _draw(forecaster.panels(data, h, level, future=future), output)
    elif output.suffix.lower() == ".txt":
        _write_text(_frame_text(frame), output)
    else:
        write_table(frame, output)
    print(f"wrote {len(frame):,} rows of forecast to {output}", file=sys.stderr)


@_command
def evaluate(
    model: Model,
    data: Data,
    output: Annotated[
        Path | None, _option("--output", "-o", help="A file: .csv .json .parquet .txt, or .png of the last windows.")
    ] = None,
    as_json: Annotated[bool, _option("--json", help="Print one JSON object.")] = False,
    classical: Annotated[
        int, _option("--classical", help="Windows on which AutoETS is fitted to compare; 0 for none.")
    ] = 20,
) -> None:
    """Score a model on DATA beside persistence, the seasonal naive forecast and AutoETS."""
    _check_ending(output)
    forecaster = Forecaster.load(model)
    evaluation = forecaster.evaluate(data, classical_windows=classical)
    print(json.dumps(evaluation.to_dict()) if as_json else evaluation)
    if output is None:
        return
    ending = output.suffix.lower()
    if ending in _PLOTS:
        _draw(forecaster.panels(data, hidden=evaluation.horizon), output)
    elif ending in (".txt", ".json"):
        _write_text(str(evaluation) if ending == ".txt" else json.dumps(evaluation.to_dict(), indent=1), output)
    else:
        write_table(import_extra("pyarrow", "forecast").Table.from_pylist(_score_rows(evaluation)), output)
    print(f"wrote {output}", file=sys.stderr)


def _check_place(output: Path) -> None:
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


def _check_ending(output: Path | None) -> None:
    if output is None:
        return
    ending = output.suffix.lower()
    if ending not in (*_PLOTS, *_TABLES, ".txt"):
        raise OptionError(
            f"--output must end in one of {', '.join((*_TABLES, '.txt', *_PLOTS))}, not {ending or 'nothing'}"
        )


def _score_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row a method; those compared on a sample of the windows come last."""
    return [asdict(scores) for scores in (*evaluation.methods, *evaluation.classical)]


def _draw(panels: list[ForecastPanel], output: Path) -> None:
    """Save a plot; where matplotlib has no cache yet, it gets a passing one rather than one in the user's home."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with TemporaryDirectory() as passing:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matplotlib"
        if not home.is_dir():
            os.environ.setdefault("MPLCONFIGDIR", passing)
        save_figure(draw_forecasts(panels), output)


def _write_text(text: str, output: Path) -> None:
    with atomic_write(output) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _frame_text(frame: Any) -> str:
    """The forecasts with the same number of decimals everywhere."""
    typical = float(frame["lstm"].abs().median())
    return frame.to_string(index=False, float_format=f"{{:,.{decimals(typical, 5)}f}}".format)


def _shortened(text: str) -> str:
    lines = text.splitlines()
    if len(lines) <= _ROWS_SHOWN + 1:
        return text
    left = len(lines) - 1 - _ROWS_SHOWN
    return "\n".join([*lines[: _ROWS_SHOWN + 1], f"... {left:,} more rows; --output FILE.csv keeps all"])
