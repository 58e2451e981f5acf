"""The main job in a minute: forecast the weekly CO2 of Mauna Loa, which statsmodels ships.

Everything goes into the folder demo-output: the model, the forecast and a plot.
"""

from pathlib import Path

import numpy as np
from statsmodels.datasets import co2

import lstmkit
from lstmkit.plots import draw_forecasts, save_figure

HORIZON = 26
TEST = 260

folder = Path("demo-output")
folder.mkdir(exist_ok=True)

table = co2.load_pandas().data.rename_axis("ds").rename(columns={"co2": "y"}).reset_index()
print(f"{len(table):,} weeks of CO2, {table['y'].isna().sum()} of them missing; the last {TEST} are the test\n")

forecaster = lstmkit.Forecaster(horizon=HORIZON, max_steps=400)
forecaster.fit(table[:-TEST])
print(forecaster.evaluate(table))

forecaster.save(folder / "co2.safetensors")
print(f"\nwhat follows the last week, {table['ds'].iloc[-1]:%Y-%m-%d}:")
forecast = forecaster.predict(table)
print(forecast.head(8).round(2).to_string(index=False))
forecast.to_csv(folder / "forecast.csv", index=False)
save_figure(draw_forecasts(forecaster.panels(table)), folder / "forecast.png")

# The file alone is enough: what follows needs neither torch nor a table.
model = lstmkit.load(folder / "co2.safetensors")
stream = model.stream()
weeks = table["ds"].to_numpy()
stream.push(table["y"].iloc[:-1], weeks[:-1])
streamed = stream.step(table["y"].iloc[-1], weeks[-1])["lstm"]
difference = np.abs(streamed - forecast["lstm"]).max()
print(f"\nstreamed week by week, the forecast differs from the table's by {difference:.1e}")
if difference > 1e-6:
    raise SystemExit("the stream does not agree with the batch forecast")
print(f"in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
