"""The doctor, and what every verb shares: exit codes and one-sentence errors."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from types import ModuleType

import pytest

from lstmkit import cli
from lstmkit.cli import doctor
from lstmkit.core import NativeStatus
from lstmkit.spec import EXTRAS, DataError

ABSENT = NativeStatus(False, "it was not built", None, (), (), None, 2)


def lstmkit(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from lstmkit.cli import main; sys.exit(main())"
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=env, check=False)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(doctor, "_version", lambda package: version(package) if package in doctor._BASE else None)
    monkeypatch.setattr(doctor, "native_status", lambda: ABSENT)
    return


def test_doctor__matches_metadata() -> None:
    report = json.loads(lstmkit("doctor", "--json").stdout)
    assert report["packages"]["torch"] == version("torch")
    assert report["native"]["threads"] == len(os.sched_getaffinity(0))
    assert {extra["name"] for extra in report["extras"]} == set(EXTRAS)


def test_doctor__never_imports_what_it_reports() -> None:
    code = (
        "import sys; from lstmkit.cli import main; main(['doctor']); print(*map(sys.modules.get, ('torch', 'typer')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "None None"


@pytest.mark.usefixtures("nothing_installed")
def test_doctor__preserves_base_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for extra in EXTRAS:
        assert f"pip install 'lstmkit[{extra}]'" in text
    assert "unusable: it was not built" in text
    assert "install a C++17 compiler" in text
    assert "torch         no" in text


@pytest.mark.parametrize("has_torch", [True, False])
def test_doctor__matches_what_the_core_can_do(monkeypatch: pytest.MonkeyPatch, has_torch: bool) -> None:
    present = NativeStatus(True, "", "1", ("baseline",), ("baseline",), "baseline", 2)
    monkeypatch.setattr(doctor, "native_status", lambda: present)
    monkeypatch.setattr(doctor, "_version", lambda package: "1" if has_torch or package != "torch" else None)
    native = {engine.name: engine for engine in doctor.examine().engines}["native"]
    assert native.available
    for dtype in ("float32", "float64", "bfloat16", "int8"):
        assert dtype in native.note
    assert ("without torch it runs models and streams" in native.note) is not has_torch


def test_doctor__rejects_unknown_option() -> None:
    result = lstmkit("doctor", "--jsn")
    assert result.returncode == 2
    assert "--jsn" in result.stderr


def test_doctor__rejects_unknown_instruction_set() -> None:
    result = lstmkit("doctor", LSTMKIT_ISA="mmx")
    assert result.returncode == 0
    assert "Traceback" not in result.stderr


def test_version__equals_metadata() -> None:
    assert lstmkit("--version").stdout == f"lstmkit {version('lstmkit')}\n"


@pytest.mark.parametrize(
    ("words", "said"), [(["docter"], "did you mean 'doctor'?"), (["xyz"], f"known: {', '.join(cli.VERBS)}")]
)
def test_main__rejects_unknown_verb(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


def test_main__equals_usage_error__without_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "doctor" in capsys.readouterr().out


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_it(_: object) -> int:
        raise error

    monkeypatch.setattr(doctor, "run", raise_it)


def test_main__rejects_bad_input_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(DataError("column 'y' is missing"), monkeypatch)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr() == ("", "lstmkit: column 'y' is missing\n")
    with pytest.raises(DataError):
        cli.main(["--debug", "doctor"])
    monkeypatch.setenv("LSTMKIT_DEBUG", "1")
    with pytest.raises(DataError):
        cli.main(["doctor"])


def test_main__equals_130__interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "lstmkit: interrupted\n"


def typer_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb of its own, so that the root is tested apart from any task."""
    import typer

    app = typer.Typer()

    @app.command()
    def act(count: int, fail: str = "") -> None:
        if fail == "data":
            raise DataError("the table is empty")
        if fail == "interrupt":
            raise KeyboardInterrupt
        if fail == "package":
            importlib.import_module("torch")
        if fail == "exit":
            raise typer.Exit(1)
        print(count)

    module = ModuleType("lstmkit.cli.probe")
    module.app = app
    monkeypatch.setitem(sys.modules, "lstmkit.cli.probe", module)
    monkeypatch.setitem(cli.VERBS, "probe", "for this test")


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["3"], 0, "3\n", ""),
        (["3", "--fail", "data"], 1, "", "lstmkit: the table is empty\n"),
        (["3", "--fail", "exit"], 1, "", ""),
        (["3", "--fail", "interrupt"], 130, "", "lstmkit: interrupted\n"),
    ],
    ids=["fine", "bad-data", "exit", "interrupt"],
)
def test_verb__equals_exit_code(
    words: list[str], code: int, out: str, err: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typer_verb(monkeypatch)
    assert cli.main(["probe", *words]) == code
    assert capsys.readouterr() == (out, err)


@pytest.mark.parametrize("package", ["typer", "torch"])
def test_verb__rejects_missing_package(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typer_verb(monkeypatch)
    monkeypatch.setitem(EXTRAS, "probe", ("typer", "torch"))
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["probe", "3", "--fail", "package"]) == 1
    said = f"lstmkit: 'lstmkit probe' needs the package {package!r}, which is not installed; run: "
    assert capsys.readouterr() == ("", said + "pip install 'lstmkit[probe]'\n")


@pytest.mark.parametrize("words", [[], ["three"], ["3", "--no-such-option"]])
def test_verb__rejects_wrong_usage(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typer_verb(monkeypatch)
    assert cli.main(["probe", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: lstmkit probe" in said.err


def test_main__never_complains__reader_gone() -> None:
    code = "import sys; from lstmkit.cli import main; sys.exit(main(['doctor']))"
    script = f'{sys.executable} -c "{code}" | true'
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert result.stderr == ""
