"""A language model without torch: against torch's own run of the stages, and against all texts written out."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.foreign import FOREIGN, TEXTS
from helpers.language import LINES, SHAPES, language_model, language_network, language_text

from lstmkit.features import END, Sampler, TextEncoder
from lstmkit.runtime import LMModel, LMStream, load
from lstmkit.runtime.lm_text import LEVELS, LanguageText
from lstmkit.runtime.model import flatten_weights
from lstmkit.spec import ModelFileError, OptionError, ShapeError

ROW = np.array([3, 9, 2, 2, 14, 5, 0, 7, 11])


def log_softmax(scores):
    return torch.log_softmax(torch.as_tensor(np.array(scores, np.float64)), -1).numpy()


def torch_scores(shape, model, tokens):
    network = language_network(shape, len(model.text.encoder))
    state = {name: torch.zeros(getattr(network, name).shape[0], 1, 7) for name in ("h", "c")}
    with torch.no_grad():
        return network.model({"tokens": torch.as_tensor(tokens)[None], **state})["scores"][0].numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_stream__matches_torch(shape):
    model = language_model(shape)
    expected = torch_scores(shape, model, ROW)
    np.testing.assert_allclose(model.stream().feed(ROW), expected, rtol=1e-4, atol=1e-5)
    stream = model.stream()
    steps = [stream.step(int(token)).copy() for token in ROW]
    np.testing.assert_allclose(steps, expected, rtol=1e-4, atol=1e-5)
    split = model.stream()
    np.testing.assert_allclose(
        np.concatenate([split.feed(ROW[:4]), split.feed(ROW[4:])]), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shape", ["tied", "adaptive"])
def test_stream__matches_the_core__without_it(shape, monkeypatch):
    model = language_model(shape)
    expected = model.stream().feed(ROW)
    monkeypatch.setattr("lstmkit.runtime.lm_stream.find_core", lambda precision, spec: None)
    stream = model.stream()
    np.testing.assert_allclose([stream.step(int(token)).copy() for token in ROW], expected, rtol=1e-4, atol=1e-5)


def test_stream__roundtrips_its_state():
    stream = language_model().stream()
    stream.feed(ROW[:3])
    state = stream.state
    after = stream.feed(ROW[3:])
    stream.state = state
    np.testing.assert_array_equal(stream.feed(ROW[3:]), after)
    stream.reset()
    np.testing.assert_array_equal(stream.feed(ROW), language_model().stream().feed(ROW))


@pytest.mark.parametrize("shape", ["tied", "adaptive"])
def test_surprise__matches_torch(shape):
    model = language_model(shape)
    read = np.append(END, ROW[:-1])
    expected = -log_softmax(torch_scores(shape, model, read))[np.arange(len(ROW)), ROW]
    np.testing.assert_allclose(model.surprise(ROW), expected, rtol=1e-4, atol=1e-5)


def test_surprise__equals_that_of_blocks(monkeypatch):
    model = language_model()
    whole = model.surprise(ROW)
    monkeypatch.setattr("lstmkit.runtime.lm._BLOCK", 4)
    np.testing.assert_allclose(model.surprise(ROW), whole, rtol=1e-5, atol=1e-6)
    assert len(model.surprise(ROW[:0])) == 0


@pytest.mark.parametrize("tokens", [[[1]], [1.5], [99], [-1], ["a"]])
def test_surprise__rejects_what_is_no_row_of_tokens(tokens):
    with pytest.raises(ShapeError, match="expected a row of numbers of tokens"):
        language_model().surprise(np.array(tokens))


def all_paths(model, prompt, length):
    """The probability of every text of so many tokens, by the definition."""
    allowed = range(model.text.forbidden, len(model.text.encoder))
    found = {}
    for path in itertools.product(allowed, repeat=length):
        stream, total = model.stream(), 0.0
        scores = stream.feed(model.prompt(prompt))[-1]
        for token in path:
            own = log_softmax(scores[model.text.forbidden :])
            total += own[token - model.text.forbidden]
            scores = stream.step(token)
        found[path] = total
    return found


def test_search__matches_all_paths__where_the_beam_keeps_them():
    model = language_model("untied")
    paths = all_paths(model, "the", 2)
    best = max(paths, key=paths.__getitem__)
    speller = model.text.speller(model.prompt("the")[1:])
    assert model.search("the", 2, beam=200) == "".join(map(speller.push, best))
    assert model.search("the", 0, beam=3) == ""


def test_search__equals_temperature_0__with_a_beam_of_1():
    model = language_model()
    greedy = "".join(model.write("the cat", 12, sampler=Sampler(temperature=0)))
    assert model.search("the cat", 12, beam=1) == greedy


def test_write__matches_the_softmax():
    model = language_model("untied")
    scores = model.stream().feed(model.prompt("the"))[-1]
    scores[: model.text.forbidden] = -np.inf
    expected = np.exp(log_softmax(scores))
    first = [next(model.write("the", 1, sampler=Sampler(seed=seed))) for seed in range(1500)]
    for number in np.argsort(-expected)[:4]:
        speller = model.text.speller(model.prompt("the")[1:])
        share = first.count(speller.push(int(number))) / 1500
        assert abs(share - expected[number]) < 4 * np.sqrt(0.25 / 1500)


@pytest.mark.parametrize("level", LEVELS)
def test_write__never_spells_special_tokens(level):
    model = language_model(level=level)
    text = "".join(model.write("", 300, sampler=Sampler(temperature=3.0, seed=1)))
    assert "<unk>" not in text
    assert "<s>" not in text
    assert "</s>" not in text
    assert text == "".join(model.write("", 300, sampler=Sampler(temperature=3.0, seed=1)))


@pytest.mark.parametrize("level", LEVELS)
def test_text__roundtrips(level):
    text = language_text(level)
    found = "".join(map(text.speller().push, text.lines(LINES)))
    assert found == "\n".join(LINES) + "\n"


def test_text__matches_a_prompt_that_ends_inside_a_line():
    text = language_text()
    assert text.text("the cat\non").tolist() == [*text.lines(["the cat"]), text.encoder.find("on")]
    assert text.text("the cat\n").tolist() == text.lines(["the cat"]).tolist()
    assert text.text("").tolist() == []


def test_pieces__never_break_a_character():
    model = language_model(level="bpe")
    speller = model.text.speller()
    parts = [speller.push(int(number)) for number in model.text.lines(["日本 ẞ"])]
    assert "".join(parts) == "日本 ẞ\n"
    assert "�" not in "".join(parts)
    assert "" in parts


@pytest.mark.parametrize("name", ["gpt2", "roberta", "unigram", "llama"])
def test_pieces__roundtrip_with_the_tokenizer_of_someone_else(name):
    text = LanguageText("bpe", TextEncoder.from_json(FOREIGN[name]().to_str()))
    pieces = "".join(map(text.speller().push, text.lines(TEXTS[:4])))
    assert pieces == "\n".join(TEXTS[:4]) + "\n"


@pytest.mark.parametrize("line", ["it's a cat, playing; don't!", "i do not, it's", "the cat does n't play ?"])
def test_pieces__never_lose_a_sign__decoder_draws_words_together(line):
    document = json.loads(FOREIGN["bert"]().to_str())
    for piece in (*"abcdefghijklmnopqrstuvwxyz',;!?", "##t", "do", "not", "n't"):
        document["model"]["vocab"].setdefault(piece, len(document["model"]["vocab"]))
    text = LanguageText("bpe", TextEncoder.from_json(json.dumps(document)))
    numbers = text.lines([line])
    assert 0 not in numbers
    written = "".join(map(text.speller().push, numbers)).replace(" ", "").strip()
    # Where the decoder makes "don't" of "do not", which of both stands there depends on when it was written.
    assert written.replace("donot", "don't") == line.replace(" ", "").replace("donot", "don't")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda model: model.write("", -1), "length must be"),
        (lambda model: model.write("", 1.5), "length must be"),
        (lambda model: model.search("", 3, 0), "beam must be"),
        (lambda model: model.stream(precision="int4"), "expected the precision"),
    ],
)
def test_model__rejects_options(call, error):
    with pytest.raises(OptionError, match=error):
        call(language_model())


def test_model__roundtrips(tmp_path):
    model = language_model("adaptive", "character")
    model.save(tmp_path / "lm.safetensors")
    again = load(tmp_path / "lm.safetensors")
    assert isinstance(again, LMModel)
    np.testing.assert_array_equal(again.surprise(ROW), model.surprise(ROW))
    assert isinstance(again.stream(), LMStream)


def test_loading__never_loads_torch(tmp_path):
    language_model().save(tmp_path / "lm.safetensors")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import lstmkit\n"
        f"print(''.join(lstmkit.load({str(tmp_path / 'lm.safetensors')!r}).write('the', 5)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def damage(document, change):
    """A copy of a document with one place changed."""
    copy = json.loads(json.dumps(document))
    change(copy)
    return copy


def stage(number, **fields):
    return lambda document: document["stages"][number].update(fields)


DAMAGES = {
    "no text": lambda document: document.pop("lm"),
    "unknown level": lambda document: document["lm"].update(level="phoneme"),
    "no tokenizer": lambda document: document["lm"].pop("tokenizer"),
    "tokenizer": lambda document: document["lm"].update(tokenizer="{}"),
    "tokenizer is no text": lambda document: document["lm"].update(tokenizer=[1]),
    "other vocabulary": lambda document: document["lm"].update(
        tokenizer=language_text(lines=["a b"]).encoder.to_json()
    ),
    "no recurrent stage": lambda document: document["stages"].pop(2),
    "no head": lambda document: document["stages"].__delitem__(slice(3, None)),
    "embedding not first": lambda document: document["stages"].insert(0, document["stages"].pop(1)),
    "two embeddings": lambda document: document["stages"].insert(1, document["stages"][0]),
    "skips a stage": stage(3, inputs=["features"]),
    "reads its own states": stage(2, inputs=["features"]),
    "states in another order": stage(2, inputs=["features", "c", "h"]),
    "other head": lambda document: document["stages"][-1].update(kind="relu"),
    "cell without options": stage(2, options={}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_model__rejects_a_damaged_document(name):
    model = language_model()
    with pytest.raises(ModelFileError, match="damaged"):
        LMModel(damage(model.document, DAMAGES[name]), flatten_weights(model.weights))


def test_model__rejects_a_cell_that_reads_ahead():
    model = language_model("one-layer")

    def change(document):
        document["stages"][2]["options"]["cell"]["bidirectional"] = True

    with pytest.raises(ModelFileError, match="left to right"):
        LMModel(damage(model.document, change), flatten_weights(model.weights))
