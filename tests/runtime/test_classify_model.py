"""The runtime of classifiers: its stage, its readers, and files that are hostile."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from lstmkit.features import TextEncoder
from lstmkit.nn import StagedModel
from lstmkit.runtime import ClassifyModel, SeriesReader, Stage, TextReader, run_stages
from lstmkit.runtime.classify_text import hash_pieces, number_pairs
from lstmkit.spec import CellSpec, ModelFileError


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_bag__matches_counting_one_by_one(how: str) -> None:
    random = np.random.default_rng(0)
    numbers = random.integers(0, 7, (3, 4, 5))
    numbers[1, 2] = 0
    stage = Stage("bag", "bag", ("x",), {"things": 7, "features": 6, "how": how})
    module = StagedModel([stage])
    weights = module.stage_weights()["bag"]["weight"].detach().numpy()
    weights[0] = np.nan
    expected = np.zeros((3, 4, 6))
    for place in np.ndindex(3, 4):
        rows = [weights[number] for number in numbers[place] if number]
        if rows:
            expected[place] = np.sum(rows, 0) / (len(rows) if how == "mean" else 1)
    served = run_stages(np, [stage], {"bag": {"weight": np.nan_to_num(weights)}}, {"x": numbers})["bag"]
    trained = module({"x": torch.from_numpy(numbers)})["bag"].detach()
    np.testing.assert_allclose(served, expected, atol=1e-5)
    np.testing.assert_allclose(trained, expected, atol=1e-5)


def test_bag__matches_gradient_of_the_stage_itself() -> None:
    stage = Stage("bag", "bag", ("x",), {"things": 7, "features": 3, "how": "mean"})
    module = StagedModel([stage])
    numbers = torch.randint(0, 7, (2, 4, 5), generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
    (fast,) = torch.autograd.grad(module({"x": numbers})["bag"], [*module.parameters()], upstream)
    plain = run_stages(torch, [stage], module.stage_weights(), {"x": numbers})["bag"]
    (expected,) = torch.autograd.grad(plain, [*module.parameters()], upstream)
    torch.testing.assert_close(fast, expected)


def test_pool__matches_sum_of_real_steps() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    x[1, 2:] = np.nan
    stage = Stage("p", "pool", ("x", "lengths"), {"how": "sum"})
    found = run_stages(np, [stage], {}, {"x": x, "lengths": np.array([4, 2])})["p"]
    np.testing.assert_allclose(found, [x[0].sum(0), x[1, :2].sum(0)])


def make_text_reader() -> TextReader:
    encoder = TextEncoder.train(["the cat sat on the mat", "The dog sat"], "word", lowercase=True)
    number = {word: encoder.find(word) or 0 for word in ("the", "cat", "sat")}
    pairs = [(number["the"], number["cat"]), (number["cat"], number["sat"])]
    return TextReader(encoder, 50, number_pairs(*map(list, zip(*pairs, strict=True)), len(encoder)))


def test_text_reader__equals_worked_example() -> None:
    reader = make_text_reader()
    rows = reader.rows(["The cat sat, the cat slept", ""])
    assert "grams" not in reader.arrays(rows, grams=False)
    arrays = reader.arrays(rows)
    the, cat, sat = (reader.encoder.find(word) for word in ("the", "cat", "sat"))
    first = len(reader.encoder)
    assert arrays["tokens"].tolist() == [[the, cat, sat, 0, the, cat, 0], [0] * 7]
    assert arrays["lengths"].tolist() == [7, 1]
    grams = [[the, first], [cat, first + 1], [sat, 0], [0, 0], [0, 0], [0, 0], [0, 0]]
    assert arrays["grams"][0].tolist() == grams
    assert not arrays["grams"][1].any()
    assert arrays["places"].tolist() == [[0, 1, 2, 3, 0, 1, 4], [5] + [0] * 6]
    assert arrays["pieces"].shape[0] == 6
    assert arrays["pieces"][1].tolist()[:6] == hash_pieces("cat", 50)
    assert rows[0].spellings == ["the", "cat", "sat", ",", "the", "cat", "slept"]
    assert rows[0].offsets[0] == (0, 3)


def test_pieces__equal_stretches_of_letters() -> None:
    assert len(hash_pieces("cat", 1000)) == 3 + 2 + 1
    assert hash_pieces("cat", 1000)[0] == hash_pieces("cap", 1000)[0], "both begin with <ca"
    assert all(1 <= number < 10 for number in hash_pieces("größe", 10))
    assert len(hash_pieces("x" * 10_000, 1000)) == 40


def test_series_reader__equals_worked_example() -> None:
    reader = SeriesReader(("a", "b"), (1.0, 0.0), (2.0, 1.0), stretch=2, masked=True)
    (row,) = reader.rows([[[3, 5], [np.nan, 7], [1, 9]]])
    np.testing.assert_array_equal(row, [[1, 5, 0, 0, 0, 7, 1, 0], [0, 9, 0, 0, 0, 0, 0, 0]])
    arrays = reader.arrays([row, row[:1]])
    assert arrays["lengths"].tolist() == [2, 1]
    assert not arrays["values"][1, 1].any()


def document() -> dict[str, Any]:
    """A classifier of texts, untrained."""
    reader = make_text_reader()
    cell = CellSpec(4, 3, bidirectional=True).to_dict()
    stages = [
        Stage("words", "embedding", ("tokens",), {"tokens": len(reader.encoder), "features": 4}),
        Stage("letters", "bag", ("pieces",), {"things": 50, "features": 4, "how": "mean"}),
        Stage("spelt", "gather", ("letters", "places"), {}),
        Stage("known", "add", ("words", "spelt"), {}),
        Stage("lstm", "recurrent", ("known", "lengths"), {"cell": cell, "lengths": True}),
        Stage("most", "pool", ("lstm", "lengths"), {"how": "max"}),
        Stage("answer", "linear", ("most",), {"features": 6, "units": 2}),
    ]
    return {
        "task": "classify",
        "classify": {"labels": ["a", "b"], "reader": reader.to_dict()},
        "stages": [stage.to_dict() for stage in stages],
    }


def weights_of(whole: dict[str, Any]) -> dict[str, np.ndarray]:
    stages = [Stage.from_dict(stage) for stage in whole["stages"]]
    random = np.random.default_rng(0)
    return {
        f"{stage.name}.{name}": random.normal(size=shape)
        for stage in stages
        for name, shape in stage.parameter_shapes().items()
    }


def test_probabilities__match_torch() -> None:
    whole = document()
    weights = weights_of(whole)
    model = ClassifyModel(whole, weights)
    texts = ["The cat sat", "dog", "", "on the mat the cat sat"]
    module = StagedModel(model.stages)
    module.load_arrays(weights)
    inputs = {name: torch.from_numpy(array) for name, array in model.reader.arrays(model.reader.rows(texts)).items()}
    expected = module(inputs)["answer"].softmax(-1).detach()
    np.testing.assert_allclose(model.probabilities(texts), expected, atol=1e-5)


def put(path: str, value: Any) -> Any:
    def edit(whole: dict[str, Any]) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            whole = whole[part]
        whole[last] = value

    return edit


HOSTILE = {
    "no description": put("classify", None),
    "no labels": put("classify.labels", []),
    "a label twice": put("classify.labels", ["a", "a"]),
    "labels that are numbers": put("classify.labels", [1, 2]),
    "too many labels": put("classify.labels", ["a", "b", "c"]),
    "no reader": put("classify.reader", "text"),
    "another reader": put("classify.reader.kind", "image"),
    "a reader of an unhashable kind": put("classify.reader.kind", ["text"]),
    "no tokenizer": put("classify.reader.encoder", "{}"),
    "a tokenizer that is a number": put("classify.reader.encoder", 7),
    "half a pair": put("classify.reader.pairs", [1, 2, 3]),
    "pairs of texts": put("classify.reader.pairs", ["a", "b"]),
    "one piece": put("classify.reader.pieces", 1),
    "negative pieces": put("classify.reader.pieces", -5),
    "more pieces than rows": put("classify.reader.pieces", 51),
    "lowercase as a text": put("classify.reader.lowercase", "yes"),
    "fewer words than tokens": put("stages.0.options.tokens", 3),
    "lookup of lengths": put("stages.0.inputs", ["lengths"]),
    "a bag of words": put("stages.1.inputs", ["tokens"]),
    "rows by what are no places": put("stages.2.inputs", ["letters", "tokens"]),
    "a bag of nothing": put("stages.1.options.how", "max"),
    "series in place of texts": put(
        "classify.reader",
        {"kind": "series", "channels": ["x"], "centres": [0], "spreads": [1], "stretch": 1, "masked": False},
    ),
    "scores that are a list": put("scores", [1]),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file__rejects(case: str) -> None:
    whole = copy.deepcopy(document())
    HOSTILE[case](whole)
    with pytest.raises(ModelFileError):
        ClassifyModel(whole, weights_of(document()))


SERIES = {"kind": "series", "channels": ["x"], "centres": [0.0], "spreads": [1.0], "stretch": 1, "masked": False}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channels", []),
        ("channels", [1]),
        ("centres", [0.0, 1.0]),
        ("centres", ["a"]),
        ("spreads", [0.0]),
        ("spreads", [-1.0]),
        ("spreads", [None]),
        ("stretch", 0),
        ("stretch", "2"),
        ("masked", 1),
    ],
)
def test_hostile_reader_of_series__rejects(name: str, value: Any) -> None:
    from lstmkit.runtime.classify import read_reader

    assert read_reader(SERIES) == SeriesReader(("x",), (0.0,), (1.0,))
    with pytest.raises(ModelFileError, match="makes no sense"):
        read_reader(SERIES | {name: value})
