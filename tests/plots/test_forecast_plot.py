"""The figure holds what it was given, and the file is whole or untouched."""

import sys

import numpy as np
import pytest

from lstmkit.plots import ForecastPanel, draw_forecasts, save_figure
from lstmkit.spec import LSTMKitError, OptionError

pytest.importorskip("matplotlib", reason="drawing needs the extra plot")


@pytest.fixture
def panels():
    past, times = np.arange(20), np.arange(20, 25)
    bounds = {80: (times - 2.0, times + 1.0), 95: (times - 4.0, times + 3.0)}
    first = ForecastPanel("one", past, np.where(past == 7, np.nan, past * 1.0), times, times + 0.5, bounds, times * 1.0)
    return [first, ForecastPanel("two", past, past**2.0, times, times**2.0)]


def test_figure__equals_what_it_was_given(panels):
    figure = draw_forecasts(panels)
    top, bottom = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["one", "two"]
    lines = {line.get_label(): line.get_xydata() for line in top.lines}
    for name, times, values in (
        ("history", panels[0].past_times, panels[0].past),
        ("forecast", panels[0].times, panels[0].forecast),
        ("what came", panels[0].times, panels[0].answer),
    ):
        np.testing.assert_array_equal(lines[name], np.column_stack([times, values]))
    wide, narrow = (band.get_paths()[0].vertices[:, 1] for band in top.collections)
    assert (wide.min(), wide.max()) == (16, 27)
    assert (narrow.min(), narrow.max()) == (18, 25)
    assert [line.get_label() for line in bottom.lines] == ["history", "forecast"]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["history", "95 % interval", "80 % interval", "what came", "forecast"]


def test_save_figure__never_opens_a_window(panels, tmp_path, monkeypatch):
    # Whoever imported it before was another test.
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    save_figure(draw_forecasts(panels), tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("name", ["f.jpg", "f", "f.csv"])
def test_save_figure__rejects_other_endings(panels, tmp_path, name):
    with pytest.raises(OptionError, match=r"\.png"):
        save_figure(draw_forecasts(panels), tmp_path / name)


def test_save_figure__keeps_the_old_file__when_drawing_fails(tmp_path):
    class Broken:
        def savefig(self, path, **options):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    (tmp_path / "f.png").write_text("old")
    with pytest.raises(LSTMKitError, match="no space left"):
        save_figure(Broken(), tmp_path / "f.png")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("f.png", "old")]
