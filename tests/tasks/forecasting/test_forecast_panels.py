"""What a plot shows is what predict says."""

import numpy as np
import pandas as pd


def test_panels__equal_the_forecast_and_the_data(forecaster, hourly):
    panels = forecaster.panels(hourly, level=[80])
    frame = forecaster.predict(hourly, level=[80])
    assert [panel.title for panel in panels] == ["s0", "s1", "s2"]
    for panel in panels:
        rows = frame[frame["unique_id"] == panel.title]
        known = hourly[hourly["unique_id"] == panel.title].set_index("ds")["y"].asfreq("h")
        np.testing.assert_array_equal(panel.forecast, rows["lstm"])
        np.testing.assert_array_equal(panel.intervals[80], (rows["lstm-lo-80"], rows["lstm-hi-80"]))
        np.testing.assert_array_equal(panel.times, rows["ds"].to_numpy())
        np.testing.assert_array_equal(panel.past, known.iloc[-len(panel.past) :])
        assert panel.answer is None


def test_panels__show_hidden_rows_as_what_came(forecaster, hourly):
    short = pd.DataFrame({"unique_id": "short", "ds": pd.date_range("2024-01-01", periods=7, freq="h"), "y": 1.0})
    panels = forecaster.panels(pd.concat([short, hourly]), hidden=7)
    assert [panel.title for panel in panels] == ["s0", "s1", "s2"], "a series of hidden rows alone is left out"
    for panel in panels:
        rows = hourly[hourly["unique_id"] == panel.title].set_index("ds")["y"].asfreq("h")
        np.testing.assert_array_equal(panel.answer, rows.iloc[-7:])
        np.testing.assert_array_equal(panel.past, rows.iloc[:-7].iloc[-len(panel.past) :])
        alone = rows.iloc[:-7].rename("y").reset_index().assign(unique_id="x")
        np.testing.assert_allclose(panel.forecast, forecaster.predict(alone)["lstm"], rtol=1e-6)


def test_panels__never_exceed_six(forecaster, hourly):
    many = pd.concat([hourly.assign(unique_id=f"{k}" + hourly["unique_id"]) for k in range(4)])
    assert len(forecaster.panels(many)) == 6
