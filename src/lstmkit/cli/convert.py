"""``lstmkit convert``: models of other systems in and out."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from lstmkit.interop import Imported, check_file, read_model, write_model
from lstmkit.runtime import SequenceModel
from lstmkit.spec import OptionError, atomic_write

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

_Source = Annotated[Path, typer.Argument(metavar="IN", help="A .keras, .onnx, .pt or .safetensors file.")]
_Target = Annotated[Path, typer.Argument(metavar="OUT", help="A file with another of these endings.")]
_Layer = Annotated[str | None, typer.Option("--layer", help="Take this recurrent layer of IN alone.")]


@app.command()
def convert(source: _Source, target: _Target, layer: _Layer = None) -> None:
    """Convert the LSTM, GRU or RNN of one system into that of another.

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
        write_model(passing, imported.model)
        lines.append(check_file(passing, Imported(imported.model, (), "BTF", "BTF")))
        with atomic_write(target) as temporary:
            temporary.write_bytes(passing.read_bytes())
    print(f"converted {_describe(imported.model)} of {source} to {target}")
    for line in (*imported.notes, *lines):
        print(line, file=sys.stderr)


def _describe(model: SequenceModel) -> str:
    """The stages in words: LSTM(3 -> 2 x 5), linear(5 -> 1)."""
    words: list[str] = []
    for stage in model.stages:
        if stage.kind == "recurrent":
            spec = model.cells[stage.name]
            ways = ", bidirectional" if spec.bidirectional else ""
            words.append(f"{spec.cell.upper()}({spec.input_size} -> {spec.num_layers} x {spec.hidden_size}{ways})")
        elif stage.kind == "linear":
            words.append(f"linear({stage.options['features']} -> {stage.options['units']})")
        else:
            words.append(stage.kind)
    return ", ".join(words)
