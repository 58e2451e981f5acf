"""The heat maps hold what they were given."""

import numpy as np
import pytest

from lstmkit.plots import AlignmentPanel, draw_alignments, save_figure

pytest.importorskip("matplotlib", reason="drawing needs the extra plot")


def test_figure__equals_what_it_was_given(tmp_path) -> None:
    panels = [
        AlignmentPanel(["a", "b", "</s>"][:size], ["x", "</s>"], np.arange(2 * size).reshape(2, size) / 9)
        for size in (3, 2, 1, 3)
    ]
    figure = draw_alignments(panels)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 4
    for axes, panel in zip(drawn, panels, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), panel.weights)
        assert [label.get_text() for label in axes.get_xticklabels()] == panel.source
        assert [label.get_text() for label in axes.get_yticklabels()] == panel.target
        assert axes.images[0].get_clim() == (0, 1)
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
