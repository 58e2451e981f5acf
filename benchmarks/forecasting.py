"""Forecasting accuracy on public data, with the defaults of Forecaster and three seeds.

Run ``python -m benchmarks.forecasting [etth1|m4_hourly|vix] [--seeds 3] [--json FILE]`` from the
repository's root; the data lie in ``../shared/data`` and are never packaged.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lstmkit import Forecaster
from lstmkit.tasks.forecasting.metrics import mase, seasonal_scale, smape

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEASON = 24

# ETTh1, as Informer and later papers split it.
TRAIN, VALID, TEST = 8640, 2880, 2880

Row = dict[str, Any]


def etth1(seeds: range) -> Iterator[Row]:
    """Seven variables standardised by the training part; mean squared error over every window of the test part."""
    table = pd.read_csv(DATA / "etth1" / "ETTh1.csv", parse_dates=["date"])[: TRAIN + VALID + TEST]
    values = table.drop(columns="date")
    values = (values - values[:TRAIN].mean()) / values[:TRAIN].std(ddof=0)
    parts = {"train": slice(0, TRAIN), "valid": slice(TRAIN, TRAIN + VALID), "all": slice(0, TRAIN + VALID + TEST)}
    long = {name: _long(table["date"][rows], values[rows]) for name, rows in parts.items()}
    for horizon, goal in ((24, 0.295), (96, 0.365)):
        for seed in seeds:
            start = time.perf_counter()
            forecaster = Forecaster(horizon, season=SEASON, seed=seed, quiet=True)
            forecaster.fit(long["train"], validation=long["valid"])
            fitted = time.perf_counter()
            found = forecaster.evaluate(long["all"], classical_windows=20 if seed == seeds[0] else 0)
            expected = len(values.columns) * (TEST - horizon + 1)
            if found.windows != expected:
                raise SystemExit(f"scored {found.windows} windows instead of {expected}")
            scores = {each.method: each.mse for each in found.methods}
            scores |= {f"sample_{each.method}": each.mse for each in found.classical}
            yield {
                "case": f"ETTh1 {horizon}",
                "score": "MSE",
                "seed": seed,
                "goal": goal,
                "fit_seconds": fitted - start,
                "score_seconds": time.perf_counter() - fitted,
                **scores,
            }


def _long(times: "pd.Series[Any]", values: pd.DataFrame) -> pd.DataFrame:
    frames = [pd.DataFrame({"unique_id": name, "ds": times, "y": values[name]}) for name in values]
    return pd.concat(frames, ignore_index=True)


def m4_hourly(seeds: range) -> Iterator[Row]:
    """414 series, the last 48 hours of each; overall weighted average against the competition's Naive2."""
    folder = DATA / "m4_hourly"
    train, test = (pd.read_csv(folder / f"Hourly-{part}.csv", index_col=0) for part in ("train", "test"))
    published = json.loads((folder / "published_table.json").read_text())["methods"]
    naive2 = published["Naive2 - (Statistical)"]
    series = [row.dropna().to_numpy() for _, row in train.iterrows()]
    long = pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": np.arange(len(values)), "y": values})
            for name, values in zip(train.index, series, strict=True)
        ],
        ignore_index=True,
    )
    answer = test.to_numpy()
    scale = np.array([seasonal_scale(values, SEASON) for values in series])

    def owa(forecast: np.ndarray[Any, Any]) -> tuple[float, float, float]:
        percent, scaled = smape(answer, forecast), mase(answer, forecast, scale)
        overall = (percent / naive2["sMAPE"]["Hourly"] + scaled / naive2["MASE"]["Hourly"]) / 2
        return overall, percent, scaled

    seasonal = np.array([np.tile(values[-SEASON:], 2) for values in series])
    last = np.array([np.repeat(values[-1], 48) for values in series])
    for seed in seeds:
        start = time.perf_counter()
        forecaster = Forecaster(48, season=SEASON, seed=seed, quiet=True).fit(long)
        fitted = time.perf_counter()
        forecast = forecaster.predict(level=[])["lstm"].to_numpy().reshape(answer.shape)
        overall, percent, scaled = owa(forecast)
        yield {
            "case": "M4 hourly 48",
            "score": "OWA",
            "seed": seed,
            "goal": 0.44,
            "fit_seconds": fitted - start,
            "score_seconds": time.perf_counter() - fitted,
            "lstm": overall,
            "persistence": owa(last)[0],
            "seasonal_naive": owa(seasonal)[0],
            "published_theta": published["Theta - (Statistical)"]["OWA"]["Hourly"],
            "published_winner": published["118 Smyl (Hybrid)"]["OWA"]["Hourly"],
            "smape": percent,
            "mase": scaled,
        }


def vix(seeds: range) -> Iterator[Row]:
    """Daily close of the VIX, the last fifth as test; whether there is skill over repeating the last value."""
    table = pd.read_csv(DATA / "vix" / "vix-daily.csv", parse_dates=["DATE"]).rename(
        columns={"DATE": "ds", "CLOSE": "y"}
    )
    table = table[["ds", "y"]]
    kept = int(len(table) * 0.8)
    for seed in seeds:
        start = time.perf_counter()
        forecaster = Forecaster(5, returns=True, seed=seed, quiet=True, frequency="B").fit(table[:kept])
        fitted = time.perf_counter()
        found = forecaster.evaluate(table, classical_windows=20 if seed == seeds[0] else 0)
        scores = {each.method: each.mae for each in found.methods}
        scores |= {f"sample_{each.method}": each.mae for each in found.classical}
        yield {
            "case": "VIX 5 days",
            "score": "MAE",
            "seed": seed,
            "goal": None,
            "fit_seconds": fitted - start,
            "score_seconds": time.perf_counter() - fitted,
            **scores,
            "verdict": found.verdict,
        }


CASES: dict[str, Callable[[range], Iterator[Row]]] = {"etth1": etth1, "m4_hourly": m4_hourly, "vix": vix}
_BASELINES = ("persistence", "seasonal_naive", "published_theta", "published_winner")


def summary(rows: list[Row]) -> str:
    """Mean and spread over the seeds, one line a case."""
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == case]
        scores = np.array([row["lstm"] for row in own])
        seconds = sum(row["fit_seconds"] + row["score_seconds"] for row in own)
        baselines = "  ".join(f"{name} {own[0][name]:.4f}" for name in _BASELINES if name in own[0])
        if "sample_auto_ets" in own[0]:
            baselines += (
                f"  (on 20 windows: auto_ets {own[0]['sample_auto_ets']:.4f}, lstm {own[0]['sample_lstm']:.4f})"
            )
        goal = (
            f"goal {own[0]['goal']}: {'met' if scores.mean() <= own[0]['goal'] else 'MISSED'}" if own[0]["goal"] else ""
        )
        lines.append(
            f"{case}: {own[0]['score']} {scores.mean():.4f} (seeds {', '.join(f'{score:.4f}' for score in scores)})  "
            f"{baselines}  {goal}  {seconds:.0f} s in all"
        )
        lines += [row["verdict"] for row in own[:1] if "verdict" in row]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES, nargs="?", help="all of them by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"the data of this benchmark are not at {DATA}")
    rows: list[Row] = []
    for case in [options.case] if options.case else CASES:
        for row in CASES[case](range(options.seeds)):
            rows.append(row)
            shown = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
            print(json.dumps(shown), file=sys.stderr, flush=True)
    print(summary(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
