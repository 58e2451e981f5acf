"""What the two tables of the family are made of: numbers that are checked before they are timed, and squares."""

from dataclasses import replace
from typing import Any

import pytest
from helpers.family_checks import CHECKS, TABLE_ROWS, explain_gap

from benchmarks import family, family_table
from benchmarks.cases import LOOP, OURS, PLAIN, TORCH
from benchmarks.data import expected_values, make_data, relative_error
from benchmarks.family import MEMBERS, Member
from benchmarks.family_table import BY_HAND, ENGINES, PAGE, TICK, Square, Squares, render
from benchmarks.pages import PERFORMANCE, markers
from benchmarks.peers import lstmkit_layer, torch_layer, torch_loop
from benchmarks.runner import Settings, WrongResultError
from benchmarks.subject import Turn

pytest_plugins = ["pytester"]

SMALL = (7, 5, 4, 8)
BY_NAME = {member.name: member for member in MEMBERS}


@pytest.mark.parametrize("name", BY_NAME)
def test_member__matches_reference__values_and_all_gradients(name: str) -> None:
    case = BY_NAME[name].case(SMALL)
    data = make_data(case)
    prepared = lstmkit_layer.prepare(case, data)
    values, expected = prepared.read(prepared.run()), expected_values(case, data)
    assert values.keys() == expected.keys()
    assert max(relative_error(values[name], expected[name]) for name in expected) < 1e-5


@pytest.mark.parametrize(("name", "peer"), [("layer norm ba", torch_loop), ("GRU", torch_layer)])
def test_peer__matches_reference(name: str, peer: Any) -> None:
    case = BY_NAME[name].case(SMALL)
    data = make_data(case)
    prepared = peer.prepare(case, data)
    values, expected = prepared.read(prepared.run()), expected_values(case, data)
    assert values.keys() == expected.keys()
    assert max(relative_error(values[name], expected[name]) for name in expected) < 1e-5


def test_loop__rejects_what_it_was_not_written_for() -> None:
    case = BY_NAME["GRU"].case(SMALL)
    with pytest.raises(ValueError, match="no loop for GRU"):
        torch_loop.prepare(case, make_data(case))


class FakeWorker:
    """A process that answers at once, with numbers of its own case or with wrong ones."""

    def __init__(self, seconds: float, factor: float = 1.0) -> None:
        self.seconds, self.factor = seconds, factor

    def prepare(self, case: Any) -> str:
        self.case = case
        return "engine native"

    def values(self) -> Any:
        return {k: self.factor * v for k, v in expected_values(self.case, make_data(self.case)).items()}

    def turn(self, seconds: float, least_calls: int) -> Turn:
        return Turn(self.seconds, 0, 1, 0)


def measure(member: Member, **every: Any) -> Any:
    return family.measure_member(member, SMALL, Settings(rounds=3), every, lambda text: None)


def test_row__equals_ratios_and_goals() -> None:
    member = replace(BY_NAME["GRU"], most=0.85, peers={TORCH: 3, LOOP: 2})
    seconds = {OURS: FakeWorker(1), PLAIN: FakeWorker(1.25), TORCH: FakeWorker(2), LOOP: FakeWorker(9, 1.1)}
    row = measure(member, **seconds)
    assert row["cost"] == 0.8
    assert row["spread"] == [0.8, 0.8]
    assert row["peers"][TORCH]["ratio"] == 2
    assert "computes something else" in row["peers"][LOOP]["absent"]
    assert [goal["met"] for goal in row["goals"]] == [True, False, None]
    assert "at most 0.85x plain met; torch at least 3x MISSED" in family.line_of(row)
    machine = {"processor": "P", "threads": 2, "instruction_set": "I", "load": 0.0, "peak": {}}
    table = family.table_of({"machine": machine, "sizes": SMALL, "rows": [row]})
    assert (
        "| GRU | 1e+03 | **0.80x (0.80-0.80)** | native | torch 2.00x (2.00-2.00); torch, loop in Python not measured |"
        in table
    )


@pytest.mark.parametrize("wrong", [OURS, PLAIN])
def test_row__rejects_wrong_numbers_of_ours(wrong: str) -> None:
    every = {OURS: FakeWorker(1), PLAIN: FakeWorker(1)} | {wrong: FakeWorker(1, 1.01)}
    with pytest.raises(WrongResultError, match="computes something else"):
        measure(BY_NAME["JANET"], **every)


def test_table__has_its_place() -> None:
    assert all(marker in PERFORMANCE.read_text() for marker in markers("family"))


def parts(page: str) -> dict[str, list[list[str]]]:
    """The cells of all lines of tables, by engine."""
    _, _, written = page.partition(markers("family")[0])
    found: dict[str, list[list[str]]] = {}
    for part in written.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        found[part.split()[0]] = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return found


def test_page__equals_rows_and_checks__no_square_unexplained() -> None:
    """A cell, an option or a check that is new needs a run of ``python -m benchmarks.family_table``."""
    page = PAGE.read_text()
    numbers = {line.partition(".")[0] for line in page.partition("## Why")[2].splitlines() if line[:1].isdigit()}
    for engine in ENGINES:
        lines = parts(page)[engine]
        head = ["", *([BY_HAND] if engine == "reference" else []), *CHECKS]
        assert lines[0] == head
        rows = {cells[0].strip("`"): cells[1:] for cells in lines if cells[0].startswith("`")}
        assert {*rows} == {*TABLE_ROWS}
        for row, cells in rows.items():
            assert all(cells), row
            assert len(cells) == 1 or len(cells) == len(head) - 1, row
            assert len(cells) == 1 or {*cells} <= {TICK, *numbers}, row
    assert all(f"| {check} | " in page for check in (BY_HAND, *CHECKS))


def test_render__rejects_square_without_reason() -> None:
    found = {Square("a", check, engine): "" for check in ("x", BY_HAND) for engine in ENGINES}
    text = render(found, ["a"], ["x"], lambda square: None)
    assert f"| `a` | {TICK} | {TICK} |" in text
    del found["a", "x", "torch"]
    with pytest.raises(SystemExit, match="nothing says why"):
        render(found, ["a"], ["x"], lambda square: None)
    assert "| `a` | no such thing |" in render(found, ["a"], ["x"], lambda square: "no such thing")


def test_squares__equal_outcomes_of_tests(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers = square: a place of the table")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.square("x", "a", "b", engine="torch")
        def test_passes():
            pass

        @pytest.mark.square("y", "a")
        @pytest.mark.parametrize("engine", ["torch", "native"])
        def test_refused(engine, record_property):
            record_property("refused", "the engine 'e' cannot run this: no kernel; leave engine=None to choose")

        @pytest.mark.square("x", "b", engine="native")
        def test_skipped():
            pytest.skip("no file")

        @pytest.mark.square("x", "b", engine="reference")
        def test_fails():
            assert False
        """
    )
    squares = Squares()
    pytester.inline_run("-p", "no:cacheprovider", plugins=[squares])
    assert squares.found["a", "x", "torch"] == squares.found["b", "x", "torch"] == ""
    assert squares.found["a", "y", "native"] == squares.found["a", "y", "torch"] == "no kernel"
    assert "no file" in squares.found["b", "x", "native"]
    assert [name.rpartition("::")[2] for name in squares.failed] == ["test_fails"]


def test_gaps__never_excuse__what_tests_fill() -> None:
    """Where an engine other than torch runs a layer in evaluation there is always something to check."""
    plain = [row for row in TABLE_ROWS if row not in ("tree", "lstm1997") and "drop" not in row and "drawn" not in row]
    assert not [(row, check) for row in plain for check in CHECKS if explain_gap(row, check, "native")]


def test_command__rejects_machine_without_core(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(family_table.native_status(), available=False, reason="it was taken away")
    monkeypatch.setattr(family_table, "native_status", lambda: absent)
    with pytest.raises(SystemExit, match="needs the native core; it was taken away"):
        family_table.main()
