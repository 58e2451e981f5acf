"""``lstmkit convert``."""

from pathlib import Path

import numpy as np
import pytest
import torch

import lstmkit
from lstmkit import nn
from lstmkit.cli import main
from lstmkit.interop import check

pytest.importorskip("onnx", reason="onnx, which reads and writes the files of this test, is not installed")

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(torch.nn.LSTM(3, 4, 2).state_dict(), tmp_path / "in.pt")
    return tmp_path / "in.pt"


@pytest.mark.parametrize("ending", [".onnx", ".keras", ".safetensors", ".pth"])
def test_convert__says_what_it_did(weights: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = weights.parent / f"out{ending}"
    assert main(["convert", str(weights), str(target)]) == 0
    output = capsys.readouterr()
    assert output.out == f"converted LSTM(3 -> 2 x 4) of {weights} to {target}\n"
    lines = output.err.splitlines()
    assert lines[0].startswith("checked in.pt: torch.nn and lstmkit differ by at most ")
    assert lines[1].startswith(f"checked out{ending}: ")
    assert len(lines) == 2


def test_converted_model__matches_torch(weights: Path) -> None:
    target = weights.parent / "out.safetensors"
    assert main(["convert", str(weights), str(target)]) == 0
    layer = torch.nn.LSTM(3, 4, 2, batch_first=True)
    layer.load_state_dict(torch.load(weights, weights_only=True))
    expected = layer(torch.from_numpy(X))[0].detach().numpy()
    model = lstmkit.load(target)
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-6)
    stream = model.stream()
    np.testing.assert_allclose([stream.step(row) for row in X[0]], expected[0], rtol=0, atol=1e-6)


def test_convert__says_what_it_could_not_check(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "find_spec", lambda package: None)
    assert main(["convert", str(weights), str(weights.parent / "out.onnx")]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "not checked against in.pt: torch is not installed",
        "not checked against out.onnx: onnxruntime is not installed",
    ]


def test_one_layer__is_taken_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 4), "head": torch.nn.Linear(4, 1)})
    source, target = tmp_path / "in.pt", tmp_path / "out.onnx"
    torch.save(model.state_dict(), source)
    assert main(["convert", str(source), str(target)]) == 1
    assert "take the layer alone by --layer rnn" in capsys.readouterr().err
    assert main(["convert", str(source), str(target), "--layer", "rnn"]) == 0
    assert target.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent.onnx", "out.keras"], "expected a file at absent.onnx, which is not there"),
        (["in.pt", "out.txt"], "out.txt must end in one of .keras, .onnx"),
        (["in.pt", "in.pt"], "IN and OUT are the same file"),
        (["in.pt", "absent/out.onnx"], "cannot write absent/out.onnx: its folder does not exist"),
        (["in.pt", "out.onnx", "--layer", "nope"], "has no recurrent layer 'nope'; it has: ''"),
    ],
)
def test_convert__rejects_with_one_sentence(
    weights: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(weights.parent)
    assert main(["convert", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("lstmkit: ")
    assert error.count("\n") == 1
    assert said in error
    assert sorted(path.name for path in weights.parent.iterdir()) == ["in.pt"]


def test_wrong_numbers__leave_no_file(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A converter with a fault in its gate order is found out before anything is written."""
    monkeypatch.setattr("lstmkit.interop.rows.gate_permutation", lambda *_: (1, 0, 2, 3))
    assert main(["convert", str(weights), str(weights.parent / "out.onnx")]) == 1
    assert "gives other numbers" in capsys.readouterr().err
    assert not (weights.parent / "out.onnx").exists()


def test_convolution__takes_its_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.keras"
    nn.save_model(source, nn.ConvLSTM2D(3, 4, kernel_size=(3, 2)))
    assert main(["convert", str(source), str(target), "--space", "6x5"]) == 0
    output = capsys.readouterr()
    assert output.out == f"converted ConvLSTM2D(3 -> 1 x 4) of {source} to {target}\n"
    assert "checked out.keras: " in output.err
    for space, said in (("", "give space="), ("6", "2 axes of space; give the length of each"), ("6;5", "such as 9,8")):
        assert main(["convert", str(source), str(tmp_path / "no.keras"), "--space", space]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "no.keras").exists()
