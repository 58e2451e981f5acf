"""An evaluation as a table that a person can read."""

from collections.abc import Mapping
from math import floor, log10
from typing import Any

_COLUMNS = (("mae", "MAE"), ("rmse", "RMSE"), ("mase", "MASE"), ("smape", "sMAPE %"))


def evaluation_text(found: Mapping[str, Any]) -> str:
    """The scores of all methods, the coverage of the intervals, and what it means.

    Args:
        found: What :meth:`Evaluation.to_dict` gives, and a model file keeps.
    """
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
    inside = [
        f"{part:.1f} % in the {level} % interval" for level, part in found["coverage"].items() if part is not None
    ]
    lines += ["", *([f"answers inside: {', '.join(inside)}"] if inside else []), found["verdict"]]
    if found["trained_on"]:
        lines.append("The model was trained on these rows, so this is no test: score it on rows that came later.")
    return "\n".join(lines)


def _rows(methods: list[dict[str, Any]]) -> list[str]:
    """One line a method; ``skill`` is that of the first, the forecast, over the others."""
    own = methods[0]["mae"]
    head = f"  {'':<16}" + "".join(f"{title:>12}" for _, title in _COLUMNS) + f"{'skill of lstm':>16}"
    lines = [head]
    digits = {name: _least_decimals([scores[name] for scores in methods]) for name, _ in _COLUMNS}
    for scores in methods:
        cells = "".join(f"{_number(scores[name], digits[name]):>12}" for name, _ in _COLUMNS)
        better = scores["mae"] and scores is not methods[0]
        skill = f"{1 - own / scores['mae']:+.1%}" if better else ""
        lines.append(f"  {scores['method']:<16}{cells}{skill:>16}")
    return lines


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _least_decimals(values: list[float | None]) -> int:
    return decimals(min((value for value in values if value), default=0.0), 4)


def decimals(value: float, digits: int) -> int:
    """Places after the point with which a number shows so many digits.

    Example:
        >>> decimals(0.25, 4), decimals(123.0, 4), decimals(0.0, 4)
        (4, 1, 1)
    """
    return min(max(digits - 1 - floor(log10(abs(value))), 0), 9) if value else 1
