"""An evaluation as a table that a person can read."""

from typing import Any

from lstmkit.tasks.forecasting.evaluation import Evaluation

_COLUMNS = (("mae", "MAE"), ("rmse", "RMSE"), ("mase", "MASE"), ("smape", "sMAPE %"))


def evaluation_text(scores: Evaluation | dict[str, Any]) -> str:
    """The scores of all methods, the coverage of the intervals, and what it means.

    Args:
        scores: An evaluation, or its dictionary as a model file keeps it.
    """
    found = scores.to_dict() if isinstance(scores, Evaluation) else scores
    sampled = ", an even sample of all" if found["sampled"] else ""
    lines = [
        f"horizon {found['horizon']}, season {found['season']}: "
        f"{found['windows']:,} windows of {found['series']:,} series{sampled}"
    ]
    lines += _rows(found["methods"])
    if found["classical"]:
        count = found["classical"][0]["windows"]
        lines += ["", f"against a classical model, fitted anew for each of {count} evenly spread windows"]
        lines += _rows(found["classical"])
    inside = ", ".join(f"{level} %: {part:.1f} %" for level, part in found["coverage"].items())
    lines += ["", f"answers inside the interval of {inside}", found["verdict"]]
    if found["trained_on"]:
        lines.append("The model was trained on these rows, so this is no test: score it on rows that came later.")
    return "\n".join(lines)


def _rows(methods: list[dict[str, Any]]) -> list[str]:
    """One line a method; ``skill`` is against the line above it that bears the forecast."""
    own = methods[0]["mae"]
    head = f"  {'':<16}" + "".join(f"{title:>12}" for _, title in _COLUMNS) + f"{'skill of lstm':>16}"
    lines = [head]
    for scores in methods:
        cells = "".join(f"{_number(scores[name]):>12}" for name, _ in _COLUMNS)
        better = scores["mae"] and scores is not methods[0]
        skill = f"{1 - own / scores['mae']:+.1%}" if better else ""
        lines.append(f"  {scores['method']:<16}{cells}{skill:>16}")
    return lines


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:,.4g}"
