"""``python -m benchmarks.family_table``: every cell and option against every check on every engine, as tests found it.

Runs the tests that carry the marker ``square`` and writes what became of them into docs/explanation/family.md. A square
without a tick is explained: by the words in which an engine refused, or by why there is nothing to check.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from benchmarks.pages import ROOT, write_between_markers
from lstmkit.core import native_status

PAGE = ROOT / "docs" / "explanation" / "family.md"
TESTS = ("contract", "nn", "reference")
ENGINES = ("reference", "torch", "native")
BY_HAND = "by hand"
TICK = "✓"


class Square(NamedTuple):
    """One place of the table."""

    row: str
    check: str
    engine: str


class Squares:
    """A plugin of pytest that keeps what became of each square: nothing where it passed, else why it did not run."""

    def __init__(self) -> None:
        self.found: dict[Square, str] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Look at a test's report."""
        report: pytest.TestReport = yield
        if report.failed:
            self.failed.append(report.nodeid)
        if report.skipped or report.when == "call":
            for square in squares_of(item):
                self._keep(square, _outcome(report))
        return report

    def _keep(self, square: Square, outcome: str) -> None:
        """Of several tests of a square one must have run."""
        self.found[square] = "" if self.found.get(square) == "" else outcome


def squares_of(item: pytest.Item) -> Iterator[Square]:
    """What a test's markers name; where they leave the engine open it is a parameter of the test."""
    for marker in item.iter_markers("square"):
        check, *rows = marker.args
        engine = marker.kwargs.get("engine") or item.callspec.params["engine"]  # pyright: ignore
        yield from (Square(row, check, engine) for row in rows)


def _outcome(report: pytest.TestReport) -> str:
    if report.skipped:
        return str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else "it was skipped"
    return next((shorten(str(text)) for name, text in report.user_properties if name == "refused"), "")


def shorten(refusal: str) -> str:
    """An engine's refusal without what every refusal says."""
    return refusal.partition(" cannot run this: ")[2].partition("; leave engine=None")[0] or refusal


def render(
    found: Mapping[Square, str], rows: Iterable[str], checks: Iterable[str], gap: Callable[[Square], str | None]
) -> str:
    """The tables of all engines, and the reasons to which their numbers point.

    Args:
        found: What the tests found.
        rows: Cells and options, in order.
        checks: Columns, in order.
        gap: Why there is nothing to check in a square that no test fills.

    Raises:
        SystemExit: a square is empty and nobody says why.
    """
    reasons: list[str] = []
    rows, checks = list(rows), list(checks)
    parts = [_engine_part(engine, found, rows, checks, gap, reasons) for engine in ENGINES]
    notes = [f"{number}. {_sentence(reason)}" for number, reason in enumerate(reasons, 1)]
    return "\n\n".join([*parts, "## Why a square has a number", "\n".join(notes)])


def _engine_part(
    engine: str,
    found: Mapping[Square, str],
    rows: list[str],
    checks: list[str],
    gap: Callable[[Square], str | None],
    reasons: list[str],
) -> str:
    head = ["", *([BY_HAND] if engine == ENGINES[0] else []), *checks]
    table = [_line(head), _line(["---"] * len(head))]
    refused = ["| refused whole | why |", "| --- | --- |"]
    for row in rows:
        squares = [Square(row, check, engine) for check in head[1:]]
        texts = [_text_of(square, found, gap) for square in squares]
        if "" in texts:
            table.append(_line([f"`{row}`", *(_mark(text, reasons) for text in texts)]))
        else:
            said = [found[square] for square in squares if square in found]
            refused.append(f"| `{row}` | {'; '.join(dict.fromkeys(said or texts))} |")
    parts = [f"## {engine}", "\n".join(table), *(["\n".join(refused)] if len(refused) > 2 else [])]
    return "\n\n".join(parts)


def _text_of(square: Square, found: Mapping[Square, str], gap: Callable[[Square], str | None]) -> str:
    text = found.get(square, gap(square))
    if text is None:
        raise SystemExit(f"nothing fills the square {square}, and nothing says why")
    return text


def _mark(text: str, reasons: list[str]) -> str:
    if text == "":
        return TICK
    if text not in reasons:
        reasons.append(text)
    return str(reasons.index(text) + 1)


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def main() -> None:
    """Run the tests and write the table; more arguments go to pytest.

    Raises:
        SystemExit: a test failed, or the native core was not built, whose squares would then be empty.
    """
    if not native_status().available:
        raise SystemExit(f"the table needs the native core; {native_status().reason}")
    squares = Squares()
    folders = [str(ROOT / "tests" / folder) for folder in TESTS]
    code = pytest.main(["-q", "-m", "square", "-p", "no:xdist", *folders, *sys.argv[1:]], plugins=[squares])
    if code != pytest.ExitCode.OK:
        raise SystemExit(f"the table stays as it is: {', '.join(squares.failed) or f'pytest ended with {code!r}'}")
    # pytest has put the folder of the tests on the path.
    from helpers.family_checks import CHECKS, TABLE_ROWS, explain_gap  # pyright: ignore[reportMissingImports]

    write_between_markers(
        PAGE, "family", render(squares.found, TABLE_ROWS, CHECKS, lambda square: explain_gap(*square))
    )
    print(f"{len(squares.found)} squares are in {PAGE.name}")


if __name__ == "__main__":
    main()
