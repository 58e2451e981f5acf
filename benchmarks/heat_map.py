"""The grid as a picture: one panel per task and length, batch against hidden size."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.runner import Row

# Colours end here; the numbers in the cells do not.
MOST = 8.0


def draw_heat_map(
    cells: list[Row], lengths: Sequence[int], batches: Sequence[int], hidden_sizes: Sequence[int], path: Path
) -> None:
    """Red where torch is faster, blue where we are."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    tasks = sorted({cell["task"] for cell in cells})
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lstmkit", "font.size": 8}):
        figure = Figure(figsize=(3 * len(lengths), 2.8 * len(tasks)), layout="constrained")
        panels = figure.subplots(len(tasks), len(lengths), sharex=True, sharey=True, squeeze=False)
        for row, task in zip(panels, tasks, strict=True):
            for panel, length in zip(row, lengths, strict=True):
                chosen = [cell for cell in cells if cell["task"] == task and cell["sizes"][0] == length]
                image = _draw_panel(panel, chosen, batches, hidden_sizes)
                panel.set_title(f"{task}, T = {length}")
            row[0].set_ylabel("batch B")
        for panel in panels[-1]:
            panel.set_xlabel("hidden size H = I")
        bar = figure.colorbar(image, ax=panels, label="torch's time over ours", shrink=0.6)
        bar.set_ticks([-3, -2, -1, 0, 1, 2, 3], labels=["1/8", "1/4", "1/2", "1", "2", "4", "8"])
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def _draw_panel(panel: Any, cells: list[Row], batches: Sequence[int], hidden_sizes: Sequence[int]) -> Any:
    colours = [[math.nan] * len(hidden_sizes) for _ in batches]
    for cell in cells:
        _, B, _, H = cell["sizes"]
        y, x = batches.index(B), hidden_sizes.index(H)
        colours[y][x] = math.log2(cell["ratio"])
        dark = abs(colours[y][x]) > 0.7 * math.log2(MOST)
        text = f"{cell['ratio']:.2g}"
        panel.text(x, y, text, ha="center", va="center", color="white" if dark else "black")
    panel.set_xticks(range(len(hidden_sizes)), labels=hidden_sizes)
    panel.set_yticks(range(len(batches)), labels=batches)
    panel.set_facecolor("#e8e8e8")
    limit = math.log2(MOST)
    return panel.imshow(colours, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
