"""A model file is either a working model or a sentence; never a crash, never another error."""

import copy
import json
import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import zipfile
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from helpers.models import forecast_config, forecast_model, history
from helpers.served import DEFAULT, make_layer, make_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

import lstmkit
from lstmkit.runtime import FORMAT_VERSION, SequenceModel, Stage, read_model, write_model
from lstmkit.spec import CellSpec, LSTMKitError, ModelFileError, Variant

CELL = CellSpec(2, 3).to_dict()
DOCUMENT = {
    "task": "sequence",
    "sequence": {"input_size": 2},
    "stages": [
        Stage("lstm", "recurrent", ("x",), {"cell": CELL}).to_dict(),
        Stage("head", "linear", ("lstm",), {"features": 3, "units": 1}).to_dict(),
    ],
    "scores": {"mae": 0.5, "skill": float("nan"), "windows": np.int64(3)},
}


def weights():
    rng = np.random.default_rng(0)
    stages = [Stage.from_dict(stage) for stage in DOCUMENT["stages"]]
    return {
        f"{stage.name}.{name}": rng.normal(size=shape).astype(np.float32)
        for stage in stages
        for name, shape in stage.parameter_shapes().items()
    }


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(path, DOCUMENT, weights())
    return path


def refuse(path, match):
    """Loading gives one sentence, free of control characters and short enough to read."""
    with pytest.raises(ModelFileError, match=match) as caught:
        lstmkit.load(path)
    message = str(caught.value).replace(str(path), "FILE")
    assert len(message) < 500
    assert message.isprintable()


def rewrite(path, change=None, change_weights=None):
    """Save the document again after a change, as a hostile hand would."""
    document = {"format_version": FORMAT_VERSION, **copy.deepcopy(DOCUMENT), "scores": {}}
    arrays = weights()
    if change is not None:
        document = change(document) or document
    if change_weights is not None:
        change_weights(arrays)
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_bytes(save(arrays, metadata={"lstmkit": text}))


def test_file__roundtrips(path):
    document, arrays = read_model(path)
    for name, array in weights().items():
        np.testing.assert_array_equal(arrays[name], array)
    assert document["scores"] == {"mae": 0.5, "skill": None, "windows": 3}
    assert document["format_version"] == FORMAT_VERSION
    assert {name: document[name] for name in ("task", "sequence", "stages")} == {
        name: DOCUMENT[name] for name in ("task", "sequence", "stages")
    }


def test_file__equals_itself__written_twice(path, tmp_path):
    write_model(tmp_path / "again", DOCUMENT, weights())
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_file__roundtrips_any_text(tmp_path):
    names = ["Zürich", "東京", 'quote"', "line\nbreak", "\ud800", ""]
    write_model(tmp_path / "m", {**DOCUMENT, "names": names}, weights())
    assert read_model(tmp_path / "m")[0]["names"] == names


def test_resave__matches_this_version__of_an_older_document(path):
    model = lstmkit.load(path)
    model.document["library_version"] = "0.0.1"
    model.save(path)
    assert read_model(path)[0]["library_version"] != "0.0.1"


def test_write__rejects_weights_that_are_not_finite(tmp_path):
    for bad in (np.nan, np.inf, 1e300):
        arrays = {**weights(), "head.bias": np.array([bad])}
        with pytest.raises(LSTMKitError, match="'head.bias' are not finite"):
            write_model(tmp_path / "m", DOCUMENT, arrays)
    assert not list(tmp_path.iterdir())


def test_every_truncation__rejects(path):
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    lengths = {*range(20), *range(20, len(whole), 37), header - 1, header, header + 1, len(whole) - 1}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        refuse(path, "is empty" if length == 0 else r"is not a model file|truncated")


def test_trailing_bytes__reject(path):
    path.write_bytes(path.read_bytes() + b"more")
    refuse(path, "truncated or damaged")


def png():
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(200)


def zipped(tmp_path):
    with zipfile.ZipFile(tmp_path / "zip", "w") as file:
        file.writestr("weights", b"0" * 100)
    return (tmp_path / "zip").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        lambda _: png(),
        lambda _: pickle.dumps({"weights": [1.0] * 50}),
        zipped,
        lambda _: b"unique_id,ds,y\n1,2024-01-01,3.0\n",
        lambda _: b'{"format_version": 1}',
        lambda _: b"\x00" * 1000,
        lambda _: b"{" * 1000,
        lambda _: struct.pack("<Q", 2**63) + b"{" + b" " * 100,
        lambda _: struct.pack("<Q", 90 * 2**20) + b"{" + b" " * 100,
    ],
    ids=["png", "pickle", "zip", "csv", "json", "zeros", "braces", "huge-header", "large-header"],
)
def test_other_kind__rejects(tmp_path, content):
    (tmp_path / "m").write_bytes(content(tmp_path))
    refuse(tmp_path / "m", r"is not a model file; give a \.safetensors file that lstmkit saved")


def test_header_beyond_the_file__rejects(path):
    path.write_bytes(struct.pack("<Q", 10**6) + path.read_bytes()[8:])
    refuse(path, "is truncated: .* bytes of it are here; copy or save the model again")


def test_safetensors_of_others__reject(tmp_path):
    save_file({"weight": np.ones(3)}, tmp_path / "m")
    refuse(tmp_path / "m", "holds weights but no lstmkit model; load a file that lstmkit saved")


def test_missing_path__rejects(tmp_path):
    refuse(tmp_path / "m", "expected a model file at .*, which is not there")
    refuse(tmp_path, "which is a folder")
    refuse(tmp_path / ("x" * 300), "not there|File name too long")
    os.mkfifo(tmp_path / "pipe")
    refuse(tmp_path / "pipe", "which is no ordinary file")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_unreadable_file__rejects(path):
    path.chmod(0)
    refuse(path, "cannot read .*: Permission denied")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"format_version": NaN}',
        '{"format_version":' + "9" * 5000 + "}",
    ],
    ids=["empty", "open", "word", "nested-lists", "nested-objects", "nan", "long-number"],
)
def test_description__rejects_invalid_json(path, text):
    rewrite(path, lambda document: text or " ")
    refuse(path, "its description is not valid JSON")


@pytest.mark.parametrize("text", ["[]", "null", "3", '"text"'])
def test_description__rejects_other_json(path, text):
    rewrite(path, lambda document: text)
    refuse(path, "its description is not a JSON object")


@pytest.mark.parametrize("version", [None, "1", 0, -1, 1.0, True, [1]], ids=str)
def test_format_version__rejects_nonsense(path, version):
    rewrite(path, lambda document: document.update(format_version=version))
    refuse(path, "its format version is no whole number")


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 10**300])
def test_newer_format__rejects_with_upgrade(path, version):
    rewrite(path, lambda document: document.update(format_version=version, library_version="9.9\n" * 50))
    refuse(path, rf"reads up to {FORMAT_VERSION}; run: pip install --upgrade lstmkit")


@pytest.mark.parametrize("task", [None, "knitting", 3, ["sequence"], "x" * 10**5], ids=lambda task: str(task)[:8])
def test_unknown_task__rejects_with_upgrade(path, task):
    rewrite(path, lambda document: document.update(task=task))
    refuse(path, "cannot run models of the task .*; run: pip install --upgrade lstmkit")


def set_stage(place, **fields):
    return lambda document: document["stages"][place].update(fields)


def set_options(place, **options):
    return lambda document: document["stages"][place]["options"].update(options)


def set_cell(**fields):
    return lambda document: document["stages"][0]["options"]["cell"].update(fields)


STAGE_ERRORS = {
    "none": (lambda d: d.update(stages=[]), "it lists no stages"),
    "no-list": (lambda d: d.update(stages={"a": 1}), "it lists no stages"),
    "no-object": (lambda d: d["stages"].append(3), "a stage is not described as one"),
    "no-name": (set_stage(0, name=None), "a stage is not described as one"),
    "dotted-name": (set_stage(0, name="a.b"), "a stage is not described as one"),
    "long-name": (set_stage(0, name="a" * 10**5), "a stage is not described as one"),
    "inputs-text": (set_stage(1, inputs="lstm"), "a stage is not described as one"),
    "no-inputs": (set_stage(1, inputs=[]), "does not say what it reads"),
    "number-input": (set_stage(1, inputs=[3]), "does not say what it reads"),
    "unknown-kind": (set_stage(1, kind="mamba"), "kind 'mamba', which this lstmkit does not know; run: pip"),
    "unknown-input": (set_stage(1, inputs=["y"]), "reads 'y', which no stage before it gives"),
    "own-input": (set_stage(1, inputs=["head"]), "reads 'head', which no stage before it gives"),
    "later-input": (lambda d: d["stages"].reverse(), "reads 'lstm', which no stage before it gives"),
    "twice": (set_stage(1, name="lstm"), "two values are called 'lstm'"),
    "name-of-input": (set_stage(1, name="x"), "two values are called 'x'"),
    "no-options": (set_stage(1, options=None), "a stage is not described as one"),
    "missing-option": (set_stage(1, options={}), "features"),
    "text-size": (set_options(1, units="1"), "units must be a whole number"),
    "huge-size": (set_options(1, units=10**12), "units must be a whole number"),
    "negative-size": (set_options(1, units=-1), "units must be a whole number"),
    "float-size": (set_options(1, units=1.0), "units must be a whole number"),
    "wrong-size": (set_options(1, features=4), "features differ from the inputs'"),
    "other-units": (set_options(1, units=2), "'head.weight' have the shape"),
    "no-cell": (set_stage(0, options={"cell": 3}), "'lstm' makes no sense"),
    "unknown-cell": (set_cell(cell="quasi"), "no cell is called 'quasi'"),
    "cell-option": (set_cell(colour=1), "a cell cannot have the options 'colour'"),
    "huge-hidden": (set_cell(hidden_size=10**9), "the cell is too large"),
    "many-layers": (set_cell(num_layers=10**9), "the cell is too large"),
    "input-size": (set_cell(input_size=3), "the cell has another input"),
    "no-steps": (lambda d: d.update(sequence=None), "does not say how many features"),
    "other-steps": (lambda d: d.update(sequence={"input_size": 0}), "does not say how many features"),
    "other-kind": (set_stage(1, kind="last_steps", options={"steps": 1}), "'head' makes no sense"),
    "memory-input": (set_stage(1, inputs=["lstm.h"]), "reads the outputs of others only"),
    "scores": (lambda d: d.update(scores=[1]), "its scores are not ones"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "match"), STAGE_ERRORS.values(), ids=STAGE_ERRORS)
def test_stages__reject(path, change, match):
    rewrite(path, change)
    refuse(path, match)


def served_document(spec):
    """A ConvLSTM's or another relative's model of one stage."""
    stage = Stage("memory", "recurrent", ("x",), {"cell": spec.to_dict(), "learn_initial_state": True})
    sizes = {"input_size": spec.read_size, "space_axes": len(spec.kernel_size)}
    sizes = {name: size for name, size in sizes.items() if size}
    return {"format_version": FORMAT_VERSION, "task": "sequence", "sequence": sizes, "stages": [stage.to_dict()]}


def served_weights(spec):
    return {f"memory.{name}": value.detach().numpy() for name, value in make_layer(spec).named_parameters()}


def set_sequence(**fields):
    return lambda document: document["sequence"].update(fields)


# cell -> what a hostile hand changes, what is said.
SERVED_ERRORS = {
    "tree": ("lstm", set_cell(cell="tree"), "a Tree-LSTM runs over trees, not from step to step"),
    "cell-list": ("gru", set_stage(0, options={"cell": ["input_size", "hidden_size"]}), "the cell is not described"),
    "option-of-another": ("gru", set_cell(num_heads=2), "the cell 'gru' has no option num_heads"),
    "switch": ("gru", set_cell(reset_after=0), "reset_after must be True or False"),
    "nonlinearity": ("rnn", set_cell(nonlinearity=["elu"]), "nonlinearity: 'elu' takes one constant, alpha, not 0"),
    "constants": ("rnn", set_cell(nonlinearity=["tanh", 1.0, 10**400]), "nonlinearity must be a name, or a name with"),
    "clip-of-another": ("janet", set_cell(variant={"gate_clip": 1.0}), "the cell 'janet' has no option gate_clip"),
    "peepholes": ("gru", set_cell(variant={"peepholes": "i"}), "the cell 'gru' has no option peepholes; it has: reset"),
    "clip": ("gru", set_cell(variant={"gate_clip": -1}), "gate_clip must be None or a bound above 0, not -1"),
    "huge-clip": ("rnn", set_cell(variant={"gate_clip": 10**400}), "gate_clip must be None or a bound above 0"),
    "unknown-curve": (
        "conv_lstm",
        set_cell(variant={"cell_activation": "x"}),
        "cell_activation must be one of sigmoid",
    ),
    "heads": ("mlstm", set_cell(num_heads=3), "num_heads must divide hidden_size"),
    "heads-zero": ("slstm", set_cell(num_heads=0), "num_heads must be a whole number of at least 1"),
    "beta-beyond-floats": ("janet", set_cell(beta=10**400), "beta must be a finite number"),
    "leak-text": ("phased", set_cell(leak="0.1"), "leak must be a finite number"),
    "huge-static": ("entity_aware", set_cell(static_size=10**9), "the cell has another input"),
    "huge-rounds": ("mogrifier", set_cell(rounds=10**9), r"'memory.weight_q_l0' have the shape"),
    "huge-rank": ("mogrifier", set_cell(rank=10**9), r"'memory.weight_q_left_l0' are missing"),
    "no-extra": ("phased", set_sequence(input_size=3), "the cell has another input"),
    "extra-twice": ("time_aware", set_sequence(input_size=5), "the cell has another input"),
    "no-axes": ("conv_lstm", lambda d: d["sequence"].pop("space_axes"), "the cell has another input"),
    "more-axes": ("conv_lstm", set_sequence(space_axes=3), "the cell has another input"),
    "axes-of-others": ("gru", set_sequence(space_axes=1), "the cell has another input"),
    "four-axes": ("conv_lstm", set_sequence(space_axes=4), "a step cannot have 4 axes of space"),
    "huge-axes": ("conv_lstm", set_sequence(space_axes=10**6), "a step cannot have 1000000 axes of space"),
    "text-axes": ("conv_lstm", set_sequence(space_axes="1"), "does not say how many features"),
    "no-kernel": ("conv_lstm", set_cell(kernel_size=[]), "kernel_size must be one to three whole numbers"),
    "number-kernel": ("conv_lstm", set_cell(kernel_size=3), "'memory' makes no sense"),
    "huge-kernel": ("conv_lstm", set_cell(kernel_size=[10**12, 1]), "'memory.weight_ih_l0' have the shape"),
    "padding": ("conv_lstm", set_cell(padding="full"), "padding must be 'same' or 'valid'"),
    "linear-over-space": (
        "conv_lstm",
        lambda d: d["stages"].append(Stage("y", "linear", ("memory",), {"features": 4, "units": 1}).to_dict()),
        "features differ from the inputs'",
    ),
}


@pytest.mark.parametrize(("cell", "change", "match"), SERVED_ERRORS.values(), ids=SERVED_ERRORS)
def test_cells__reject(tmp_path, cell, change, match):
    document = served_document(DEFAULT[cell])
    change(document)
    (tmp_path / "m").write_bytes(save(served_weights(DEFAULT[cell]), metadata={"lstmkit": json.dumps(document)}))
    refuse(tmp_path / "m", match)


def test_memory_beyond_the_machine__rejects(tmp_path):
    """Few weights may ask for a large memory: that of an mLSTM is the square of its units."""
    spec = CellSpec(1, 20_000, cell="mlstm")
    arrays = {f"memory.{name}": np.zeros(shape, np.float16) for name, shape in spec.parameter_shapes().items()}
    document = served_document(spec)
    document["stages"][0]["options"]["learn_initial_state"] = False
    (tmp_path / "m").write_bytes(save(arrays, metadata={"lstmkit": json.dumps(document)}))
    refuse(tmp_path / "m", "a value of one window would hold 400,000,000 numbers")


WEIGHT_ERRORS = {
    "missing": (lambda w: w.pop("head.bias"), "'head.bias' are missing"),
    "extra": (lambda w: w.update(more=np.ones(1)), "no stage uses the weights 'more'"),
    "shape": (lambda w: w.update({"head.bias": np.ones(2)}), r"'head.bias' have the shape \(2,\), expected \(1,\)"),
    "transposed": (lambda w: w.update({"head.weight": np.ones((3, 1))}), "expected"),
    "nan": (lambda w: w.update({"head.bias": np.array([np.nan], "f")}), "'head.bias' are not all finite"),
    "beyond-float32": (lambda w: w.update({"head.bias": np.array([1e300])}), "'head.bias' are not all finite"),
    "integers": (lambda w: w.update({"head.bias": np.ones(1, np.int64)}), "are not floating-point numbers"),
    "empty": (lambda w: w.update({"head.bias": np.ones((0,), "f")}), "have the shape"),
}


@pytest.mark.parametrize(("change", "match"), WEIGHT_ERRORS.values(), ids=WEIGHT_ERRORS)
def test_weights__reject(path, change, match):
    rewrite(path, change_weights=change)
    refuse(path, match)


def test_half_precision_weights__match_single(path):
    rewrite(path, change_weights=lambda w: w.update({name: array.astype(np.float16) for name, array in w.items()}))
    assert lstmkit.load(path).predict(np.ones((4, 2))).dtype == np.float32


# What JSON may hold in the place of something else.
STRANGERS = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        3,
        10**6,
        10**9,
        10**30,
        10**400,
        0.5,
        -2.5,
        1e308,
        "",
        "x",
        "lstm",
        "24h",
        [],
        [1],
        {},
        [[]],
    ]
)


@cache
def forecast_file():
    """A forecaster's document and weights; the covariates are all there."""
    model = forecast_model(forecast_config())
    write = {f"{stage}.{name}": array for stage, own in model.weights.items() for name, array in own.items()}
    return json.dumps({"format_version": FORMAT_VERSION, **model.document}), write


def places(value, trail=()):
    """Every place in a JSON value, as a tuple of keys."""
    yield trail
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in items:
        yield from places(entry, (*trail, key))


def mutate(document, data):
    """Replace, remove or double something inside."""
    spots = [spot for spot in places(document) if spot]
    spot = data.draw(st.sampled_from(spots))
    holder = document
    for key in spot[:-1]:
        holder = holder[key]
    match data.draw(st.sampled_from(["replace", "remove", "double"])):
        case "replace":
            holder[spot[-1]] = copy.deepcopy(data.draw(STRANGERS))
        case "remove":
            holder.pop(spot[-1])
        case "double" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[spot[-1]]))


def works(content, path):
    """Load and use it, or be told in a sentence."""
    path.write_bytes(content)
    with suppress(ModelFileError):
        use(lstmkit.load(path))


def use(model):
    with np.errstate(all="ignore"):
        if isinstance(model, SequenceModel):
            space = (4,) * model.space_axes
            answer = model.predict(np.ones((3, model.input_size, *space)))
            assert answer.shape[:2] == (3, model.output_size)
            if not any(spec.bidirectional for spec in model.cells.values()):
                assert model.stream(space=space).run(np.ones((3, model.input_size, *space))).shape == answer.shape
            return
        config = model.config
        given = {name: array for name, array in history(config, 9).items() if name in ("y", "ds")}
        if config.frequency != "h":
            assert not config.calendar or config.frequency == "24h"
            given["ds"] = 24 * given["ds"]
        shapes = {"known": (9 + config.horizon, len(config.known)), "observed": (9, len(config.observed))}
        shapes["static"] = (len(config.static),)
        given |= {name: np.ones(shape) for name, shape in shapes.items() if shape[-1]}
        assert model.predict(**given)["lstm"].shape == (config.horizon,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("centres", 1e30),
        ("centres", -1e30),
        ("centres", 1e308),
        ("spreads", 1e-30),
        ("spreads", 5e-324),
        ("spreads", 0),
    ],
)
def test_statistics_that_nothing_can_be_scaled_with__are_rejected(tmp_path, name, value):
    text, arrays = forecast_file()
    document = json.loads(text)
    document["forecast"][name]["humidity"] = value
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(arrays, metadata={"lstmkit": json.dumps(document)}))
    refuse(path, "the statistics of 'humidity' cannot be")


def test_statistics_that_are_large_whole_numbers__equal_floats(tmp_path):
    answers = []
    for spread in (1e30, 10**30):  # beyond NumPy's whole numbers
        text, arrays = forecast_file()
        document = json.loads(text)
        document["forecast"]["spreads"] = dict.fromkeys(document["forecast"]["spreads"], spread)
        path = tmp_path / "model.safetensors"
        path.write_bytes(save(arrays, metadata={"lstmkit": json.dumps(document)}))
        model = lstmkit.load(path)
        config = model.config
        missing = np.full((9, len(config.observed)), np.nan)
        known, static = np.ones((9 + config.horizon, len(config.known))), np.ones(len(config.static))
        given = {name: array for name, array in history(config, 9).items() if name in ("y", "ds")}
        answers.append(model.predict(**given, known=known, observed=missing, static=static)["lstm"])
    assert np.isfinite(answers).all()
    np.testing.assert_array_equal(*answers)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_forecaster__works_or_rejects(tmp_path_factory, data):
    text, arrays = forecast_file()
    document = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(document, data)
    works(save(arrays, metadata={"lstmkit": json.dumps(document)}), tmp_path_factory.getbasetemp() / "mutated")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_mutated_sequence_model__works_or_rejects(tmp_path_factory, data):
    document = {"format_version": FORMAT_VERSION, **copy.deepcopy(DOCUMENT), "scores": {}}
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(document, data)
    works(save(weights(), metadata={"lstmkit": json.dumps(document)}), tmp_path_factory.getbasetemp() / "mutated")


SERVED_FILES = {
    **DEFAULT,
    "valid": make_spec("conv_lstm", kernel_size=(2, 3), padding="valid"),
    "clip": make_spec("gru", variant=Variant(gate_clip=0.5, candidate_activation=("tanh", 2.0, 0.5))),
}


@cache
def served_file(name):
    return json.dumps(served_document(SERVED_FILES[name])), served_weights(SERVED_FILES[name])


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from([*SERVED_FILES]), data=st.data())
def test_mutated_cell__works_or_rejects(tmp_path_factory, name, data):
    text, arrays = served_file(name)
    document = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(document, data)
    works(save(arrays, metadata={"lstmkit": json.dumps(document)}), tmp_path_factory.getbasetemp() / "mutated")


@cache
def sequence_bytes():
    return save(weights(), metadata={"lstmkit": json.dumps({"format_version": 1, **DOCUMENT, "scores": {}})})


@settings(max_examples=300, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes__work_or_reject(tmp_path_factory, flips):
    content = bytearray(sequence_bytes())
    for place, change in flips:
        content[place % len(content)] ^= change
    works(bytes(content), tmp_path_factory.getbasetemp() / "flipped")


def test_hostile_sizes__never_take_memory(tmp_path):
    """Files of a few bytes that speak of billions, loaded with little memory to spare."""
    text, arrays = forecast_file()
    files = []
    for name in ("horizon", "history", "season", "patch"):
        document = json.loads(text)
        document["forecast"][name] = 999_999
        for stage in document["stages"]:
            stage["options"] |= {key: 999_999 for key in (name, "steps", "length") if key in stage["options"]}
        files.append(save(arrays, metadata={"lstmkit": json.dumps(document)}))
    layers = served_document(make_spec("gru"))
    layers["stages"][0]["options"]["cell"]["num_layers"] = 10**9
    files.append(save({}, metadata={"lstmkit": json.dumps(layers)}))
    files.append(save(arrays, metadata={"lstmkit": "[" + "[]," * 3_000_000 + "[]]"}))
    files.append(save({"a": np.empty((10**15, 0), "f")}, metadata={"lstmkit": text}))
    for number, content in enumerate(files):
        (tmp_path / f"{number}.safetensors").write_bytes(content)
    code = (
        "import resource, sys, lstmkit, lstmkit.runtime\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"for number in range({len(files)}):\n"
        "    try: lstmkit.load(f'{number}.safetensors')\n"
        "    except lstmkit.spec.ModelFileError: pass\n"
        "    else: sys.exit(f'{number} was loaded')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 500e6
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0


def test_save__preserves_old_file__on_full_disk(path, monkeypatch):
    model, old = lstmkit.load(path), path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LSTMKitError, match="cannot write .*: no space left on device; nothing was changed"):
        model.save(path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_save__rejects_device__and_leaves_it(path):
    model = lstmkit.load(path)
    with pytest.raises(LSTMKitError, match="cannot write /dev/full: it is no ordinary file"):
        model.save("/dev/full")
    assert not os.path.isfile("/dev/full")


def test_kill_while_saving__preserves_a_whole_file(path):
    code = (
        "import sys, lstmkit\nmodel = lstmkit.load(sys.argv[1])\nprint('saving', flush=True)\n"
        "while True: model.save(sys.argv[1])"
    )
    expected = lstmkit.load(path).predict(np.ones((3, 2)))
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "saving\n"
            process.send_signal(signal.SIGKILL)
        np.testing.assert_array_equal(lstmkit.load(path).predict(np.ones((3, 2))), expected)
