"""``python -m benchmarks.charts``: time against hidden size, batch and length, ours and theirs, and what T and B cost.

Writes benchmarks/results/<machine>-charts.json, docs/images/time-against-*.svg and the part of the docs with them.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.cases import ONNX, OPENVINO, OURS, TORCH, TUNED
from benchmarks.machine import describe_machine, machine_slug
from benchmarks.pages import IMAGES, PERFORMANCE, RESULTS, write_between_markers, write_json
from benchmarks.runner import Row, Settings
from benchmarks.sweeps import FIXED, PEERS, VALUES, Axis, lines_of_fits, measure_sweep, points_of

NAMES: dict[Axis, str] = {"H": "hidden size", "B": "batch", "T": "length"}
STYLES = {
    OURS: {"color": "#c1272d", "marker": "o", "linewidth": 2.2, "zorder": 3},
    TORCH: {"color": "#7f7f7f", "marker": "s"},
    TUNED: {"color": "#303030", "marker": "^"},
    ONNX: {"color": "#0072b2", "marker": "D"},
    OPENVINO: {"color": "#009e73", "marker": "v"},
}


def main() -> None:
    """Measure each axis and draw it; Ctrl-C draws what there is."""
    given = _parse()
    settings = Settings(2 if given.quick else 3, 0.03 if given.quick else 0.06, not given.no_peers, least_calls=1)
    machine = describe_machine()
    rows: dict[Axis, list[Row]] = {}
    results: dict[str, Any] = {"machine": machine, "settings": vars(settings), "rows": rows}
    path = given.output / f"{machine_slug(machine)}-charts.json"
    try:
        for axis in given.axis or VALUES:
            for row in measure_sweep(axis, settings, given.quick, print):
                rows.setdefault(axis, []).append(row)
                print(_line_of(row), flush=True)
                write_json(path, results)
    except KeyboardInterrupt:
        print("stopped")
    results["fits"] = lines_of_fits(rows)
    print(*(fit["text"] for fit in results["fits"].values()), sep="\n")
    if not rows:
        return
    write_json(path, results)
    whole = not (given.quick or given.axis or given.no_peers)
    images = [draw(axis, rows[axis], IMAGES if whole else given.output) for axis in rows]
    if whole:
        write_between_markers(PERFORMANCE, "charts", _page_text(results, images))


def _line_of(row: Row) -> str:
    peers = ", ".join(f"{name} {peer['ratio']:.2f}x" for name, peer in row["peers"].items() if "ratio" in peer)
    return f"{row['case']:28} {row['ours']['value']:9.3f} ms, {row['ours']['note']}; {peers}"


def draw(axis: Axis, rows: list[Row], folder: Path) -> Path:
    """One panel per task, both scales logarithmic."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lstmkit", "font.size": 9}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        for panel, task in zip(figure.subplots(1, len(PEERS)), PEERS, strict=True):
            for name, points in points_of(rows, axis, task).items():
                panel.loglog(*zip(*points, strict=True), label=name, markersize=4, **STYLES[name])
            fixed = ", ".join(f"{letter} = {value}" for letter, value in FIXED.items() if letter != axis)
            inputs = "I = H" if axis == "H" else "I = 64"
            panel.set(title=f"{task}, float32: {fixed}, {inputs}", xlabel=f"{NAMES[axis]} {axis}", ylabel="ms per call")
            panel.grid(which="major", alpha=0.3)
            panel.legend(frameon=False)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"time-against-{NAMES[axis].replace(' ', '-')}.svg"
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path


def _page_text(results: dict[str, Any], images: list[Path]) -> str:
    fits = [f"- {fit['text']}" for fit in results["fits"].values()]
    pictures = [f"![Time against {path.stem.removeprefix('time-against-')}](../images/{path.name})" for path in images]
    return "\n\n".join([*pictures, "What lstmkit's time does as a size grows:", "\n".join(fits)])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charts", description=__doc__)
    parser.add_argument("--axis", action="append", choices=list(VALUES), help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few sizes and short rounds; the docs stay as they are")
    parser.add_argument("--no-peers", action="store_true", help="only ours; the docs stay as they are")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the JSON goes, and charts not for the docs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
