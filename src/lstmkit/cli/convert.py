"""``lstmkit convert``: models of other systems in and out."""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from lstmkit.interop import as_written, check_file, read_model, write_model
from lstmkit.runtime import SequenceModel
from lstmkit.spec import OptionError, atomic_write

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

_Source = Annotated[Path, typer.Argument(metavar="IN", help="A .keras, .onnx, .pt or .safetensors file.")]
_Target = Annotated[Path, typer.Argument(metavar="OUT", help="A file with another of these endings.")]
_Space = Annotated[
    str, typer.Option("--space", help="Lengths of the axes of space of a ConvLSTM in a .keras OUT: 9,8.")
]
_Layer = Annotated[str | None, typer.Option("--layer", help="Take this recurrent layer of IN alone.")]


@app.command()
def convert(source: _Source, target: _Target, layer: _Layer = None, space: _Space = "") -> None:
    """Convert the LSTM, GRU, RNN or ConvLSTM of one system into that of another.

    .keras and .onnx hold models; .pt holds a state_dict; .safetensors is lstmkit's model file when written, and
    that or a state_dict when read. Both sides are run on random input where their libraries are installed.
    """
    if source.resolve() == target.resolve():
        raise OptionError("IN and OUT are the same file; give OUT another name")
    imported = read_model(source, layer)
    whole = layer is None
    lines = (
        [check_file(source, imported)]
        if whole
        else [f"not checked against {source.name}: one layer runs nowhere alone"]
    )
    with TemporaryDirectory() as folder:
        passing = Path(folder) / target.name
        write_model(passing, imported.model, _read_space(space) or imported.space)
        lines.append(check_file(passing, as_written(passing, imported.model)))
        with atomic_write(target) as temporary:
            temporary.write_bytes(passing.read_bytes())
    print(f"converted {_describe(imported.model)} of {source} to {target}")
    for line in (*imported.notes, *lines):
        print(line, file=sys.stderr)


def _read_space(text: str) -> tuple[int, ...]:
    """``9,8`` or ``9x8`` as lengths."""
    if not re.fullmatch(r"(\d{1,9}([,x]\d{1,9}){0,2})?", text):
        raise OptionError(f"--space must be one to three lengths such as 9,8, not {text!r}")
    return tuple(int(size) for size in re.findall(r"\d+", text))


def _describe(model: SequenceModel) -> str:
    """The stages in words: LSTM(3 -> 2 x 5), linear(5 -> 1)."""
    words: list[str] = []
    for stage in model.stages:
        if stage.kind == "recurrent":
            spec = model.cells[stage.name]
            ways = ", bidirectional" if spec.bidirectional else ""
            kind = f"ConvLSTM{len(spec.kernel_size)}D" if spec.kernel_size else spec.cell.upper()
            words.append(f"{kind}({spec.input_size} -> {spec.num_layers} x {spec.hidden_size}{ways})")
        elif stage.kind == "linear":
            words.append(f"linear({stage.options['features']} -> {stage.options['units']})")
        else:
            words.append(stage.kind)
    return ", ".join(words)
