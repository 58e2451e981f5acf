"""The picture of a confusion matrix holds what it was given."""

from pathlib import Path

import numpy as np
import pytest

from lstmkit.plots import draw_confusion, save_figure

pytest.importorskip("matplotlib", reason="drawing needs the extra plot")


def test_figure__equals_what_it_was_given(tmp_path: Path) -> None:
    counts = np.array([[7, 1, 0], [0, 0, 0], [2, 3, 1234]])
    figure = draw_confusion(counts, ["a", "b", "a label that is far too long to show"])
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array()[0], [7 / 8, 1 / 8, 0])
    np.testing.assert_array_equal(axes.images[0].get_array()[1], 0)
    written = {(text.get_position()): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "7", (1, 0): "1", (0, 2): "2", (1, 2): "3", (2, 2): "1,234"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "a label that is far…"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("found", "true")
    save_figure(figure, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_figure__never_writes_into_tiny_fields() -> None:
    assert not draw_confusion(np.eye(40, dtype=int), [f"{k}" for k in range(40)]).axes[0].texts
