"""``lstmkit forecast``: train, predict with and evaluate a forecaster of time series."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lstmkit.cli.common import (
    AsJson,
    Checkpoint,
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
    write_text,
)
from lstmkit.data import write_table
from lstmkit.plots import draw_forecasts
from lstmkit.spec import import_extra
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
_RESULTS = (".csv", ".tsv", ".json", ".parquet", ".pq", ".txt", *_PLOTS)

Data = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA...", help="CSV or Parquet tables; later ones continue the series of earlier ones by id."
    ),
]
Level = Annotated[list[float], typer.Option("--level", help="Coverage of an interval in per cent; may be repeated.")]
Several = list[str] | None

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

_command = command(app, _OPTIONS)


@_command
def fit(
    data: Data,
    horizon: Annotated[int, option("--horizon", "-h", help="Steps ahead.")],
    output: ModelOutput,
    valid: Annotated[
        Path | None, option("--valid", help="Rows that follow DATA, to judge by and never learn from.")
    ] = None,
    season: Annotated[int | None, option("--season", help="Steps of a season; 1 for none.")] = None,
    history: Annotated[int | None, option("--history", help="Steps of the past that the model sees.")] = None,
    frequency: Annotated[
        str | None, option("--frequency", help="Step between rows: h, D, MS, 15min, or a number.")
    ] = None,
    id_column: Annotated[str, option("--id", help="Column that tells series apart.")] = "unique_id",
    time_column: Annotated[str, option("--time", help="Column of the time.")] = "ds",
    target: Annotated[Several, option("--target", help="Column to forecast; repeat it for a wide table.")] = None,
    known: Annotated[Several, option("--known", help="Covariate whose future is given; may be repeated.")] = None,
    observed: Annotated[Several, option("--observed", help="Covariate of the past only; may be repeated.")] = None,
    static: Annotated[
        Several, option("--static", help="Covariate that is constant for a series; may be repeated.")
    ] = None,
    returns: Annotated[bool, option("--returns", help="The target is a price: model its returns.")] = False,
    hidden_size: Annotated[int, option("--hidden-size", help="Units of the LSTM.")] = 128,
    num_layers: Annotated[int, option("--num-layers", help="Layers of the LSTM.")] = 1,
    dropout: Annotated[float, option("--dropout", help="Part of the LSTM's outputs dropped in training.")] = 0.3,
    batch_size: Annotated[int, option("--batch-size", help="Windows of a training step.")] = 256,
    learning_rate: Annotated[float, option("--learning-rate", help="The highest one.")] = 3e-3,
    max_steps: Annotated[int, option("--max-steps", help="Training steps.")] = 1000,
    time_limit: TimeLimit = None,
    checkpoint: Checkpoint = None,
    log: Log = None,
    classical: Annotated[int, option("--classical", help="Windows on which AutoETS is fitted to compare.")] = 20,
    seed: Seed = 0,
    quiet: Quiet = False,
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
        hidden_size=hidden_size,
        num_layers=num_layers,
        dropout=dropout,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_steps=max_steps,
        time_limit=time_limit,
        checkpoint=checkpoint,
        log=log,
        seed=seed,
        quiet=quiet,
    )
    check_place(output)
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
    output: Annotated[Path | None, option("--output", "-o", help="A file: .csv .json .parquet .txt .png")] = None,
    future: Annotated[Path | None, option("--future", help="Known covariates of the rows to be forecast.")] = None,
    h: Annotated[int | None, option("--steps", help="Steps to forecast, at most the horizon.")] = None,
    level: Level = [80, 95],  # noqa: B006  typer copies it
) -> None:
    """Forecast what follows each series of DATA."""
    check_ending(output, _RESULTS)
    forecaster = Forecaster.load(model)
    frame = forecaster.predict(data, h, level, future=future)
    if output is None:
        print(_shortened(_frame_text(frame)))
        return
    if output.suffix.lower() in _PLOTS:
        draw(draw_forecasts, forecaster.panels(data, h, level, future=future), output)
    elif output.suffix.lower() == ".txt":
        write_text(_frame_text(frame), output)
    else:
        write_table(frame, output)
    print(f"wrote {len(frame):,} rows of forecast to {output}", file=sys.stderr)


@_command
def evaluate(
    model: Model,
    data: Data,
    output: Annotated[
        Path | None, option("--output", "-o", help="A file: .csv .json .parquet .txt, or .png of the last windows.")
    ] = None,
    as_json: AsJson = False,
    classical: Annotated[
        int, option("--classical", help="Windows on which AutoETS is fitted to compare; 0 for none.")
    ] = 20,
) -> None:
    """Score a model on DATA beside persistence, the seasonal naive forecast and AutoETS."""
    check_ending(output, _RESULTS)
    forecaster = Forecaster.load(model)
    evaluation = forecaster.evaluate(data, classical_windows=classical)
    print(json.dumps(evaluation.to_dict()) if as_json else evaluation)
    if output is None:
        return
    ending = output.suffix.lower()
    if ending in _PLOTS:
        draw(draw_forecasts, forecaster.panels(data, hidden=evaluation.horizon), output)
    elif ending in (".txt", ".json"):
        write_text(str(evaluation) if ending == ".txt" else json.dumps(evaluation.to_dict(), indent=1), output)
    else:
        write_table(import_extra("pyarrow", "forecast").Table.from_pylist(_score_rows(evaluation)), output)
    print(f"wrote {output}", file=sys.stderr)


def _score_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row a method; those compared on a sample of the windows come last."""
    return [asdict(scores) for scores in (*evaluation.methods, *evaluation.classical)]


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
