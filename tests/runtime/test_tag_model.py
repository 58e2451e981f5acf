"""Tagging without torch: the same as torch, one sentence or many; damaged files are refused."""

import subprocess
import sys
from copy import deepcopy
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from helpers.taggers import tag_config, tag_document, tag_model, tag_module

import lstmkit
from lstmkit.features import Vocabulary, read_spans
from lstmkit.runtime import TagModel
from lstmkit.runtime.tag_inputs import tag_inputs
from lstmkit.spec import DataError, ModelFileError

SENTENCES = [
    ["the", "cat", "don", "n't", "2017", "éé", "the"],
    ["Cat"],
    ["THE", "x" * 70, "cat"],
    ["0000", "the", "cat", "the", "the", "cat", "a", "b", "c"],
]


@pytest.fixture(params=[True, False], ids=["crf", "no crf"])
def module(request):
    return tag_module(tag_config(), crf=request.param)


def test_values__match_torch(module) -> None:
    model = tag_model(tag_config(), module)
    inputs = tag_inputs(model.config, SENTENCES)
    ours = model.run(inputs)
    with torch.no_grad():
        theirs = module({name: torch.from_numpy(array) for name, array in inputs.items()})
    real = np.arange(9) < inputs["lengths"][:, None]
    np.testing.assert_allclose(ours[model.answer][real], theirs[model.answer].numpy()[real], atol=3e-6)
    np.testing.assert_allclose(ours["label_scores"], theirs["label_scores"], atol=3e-6)


def test_tags__equal_those_of_each_sentence_alone(module) -> None:
    model = tag_model(tag_config(), module)
    together = model.tag_words(SENTENCES)
    for k, words in enumerate(SENTENCES):
        tags, labels = model.tag_words([words])
        assert (tags[0], labels[0]) == (together[0][k], together[1][k])
        assert len(tags[0]) == len(words)


def test_tags__equal_the_best_of_all_legal_paths() -> None:
    config = tag_config()
    model = tag_model(config, tag_module(config))
    words = SENTENCES[2]
    scores = model.run(tag_inputs(config, [words]))["scores"][0]
    own = model.weights["path"]

    def score(path) -> float:
        moves = sum(own["transitions"][a, b] for a, b in pairwise(path))
        return sum(scores[k, tag] for k, tag in enumerate(path)) + moves + own["first"][path[0]] + own["last"][path[-1]]

    best = max(product(range(5), repeat=3), key=score)
    found = model.tag_words([words])[0][0]
    assert found == tuple(config.tags.names[tag] for tag in best)
    # A span that begins with I is what the scheme of these tags forbids.
    assert all(found[span.start].startswith("B") for span in read_spans(found))


def test_offsets__match_the_users_text() -> None:
    model = tag_model(tag_config(), tag_module(tag_config()))
    text = "  The cat don't\tsleep: 2017!"
    found = model.predict([text, ["The", "cat"], "", " ? "])
    assert [word.text for word in found[0].words] == ["The", "cat", "do", "n't", "sleep", ":", "2017", "!"]
    for tagged in found:
        assert all(tagged.text[word.start : word.end] == word.text for word in tagged.words)
        assert all(tagged.text[entity.start : entity.end] == entity.text for entity in tagged.entities)
        assert len(tagged.tags) == len(tagged.words)
    assert (found[1].text, found[2].tags, found[2].label) == ("The cat", (), None)


def test_unknown_words_and_scripts__match_a_defined_result() -> None:
    model = tag_model(tag_config(), tag_module(tag_config()))
    for text in ("東京 ΑΒΓ 🙂", "\u202e\u0000", "a" * 10_000, " ".join(["word"] * 3000)):
        (tagged,) = model.predict([text])
        assert len(tagged.tags) == len(tagged.words)
    assert model.predict([]) == []


@pytest.mark.parametrize("given", [[["a", ""]], [["a", 3]], "a text"])
def test_words__rejects(given) -> None:
    with pytest.raises(DataError, match="expected"):
        tag_model(tag_config(), tag_module(tag_config())).predict(given)


def test_lowercase__matches_lower_text() -> None:
    config = tag_config(lowercase=True)
    model = tag_model(config, tag_module(config))
    upper, lower = model.tag_words([["THE", "Cat", "HHH"]]), model.tag_words([["the", "cat", "hhh"]])
    assert upper == lower
    inputs = tag_inputs(config, [["HHH"]])
    assert inputs["spelled"].tolist() == [[2, 2, 2]]


def test_inputs__match_hand() -> None:
    inputs = tag_inputs(tag_config(), [["The", "cat", "The"], ["1999"]])
    assert inputs["tokens"].tolist() == [[1, 2, 1], [3, 0, 0]]
    assert inputs["places"].tolist() == [[0, 1, 0], [2, 0, 0]]
    # "1" and "9" were never seen; "T" and "h" were, "T" as itself.
    assert inputs["spelled"].tolist() == [[6, 2, 3, 0], [4, 5, 1, 0], [0, 0, 0, 0]]
    assert inputs["spelled_lengths"].tolist() == [3, 3, 4]


def test_file__roundtrips_without_torch(tmp_path) -> None:
    model = tag_model(tag_config(), tag_module(tag_config()))
    model.save(tmp_path / "m.safetensors")
    code = (
        "import sys, lstmkit; model = lstmkit.load(sys.argv[1]); print(model.predict(['The cat 2017'])[0].tags);"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m.safetensors"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(model.predict(["The cat 2017"])[0].tags)
    assert isinstance(lstmkit.load(tmp_path / "m.safetensors"), TagModel)


def stage(document: dict, name: str) -> dict:
    return next(stage for stage in document["stages"] if stage["name"] == name)


DAMAGES = {
    "no words": lambda d: d["tag"].pop("words"),
    "words twice": lambda d: d["tag"].update(words=["a", "a", "b", "c", "d"]),
    "words that are none": lambda d: d["tag"].update(words=[1, 2, 3, 4, 5]),
    "fewer words": lambda d: d["tag"]["words"].pop(),
    "more characters": lambda d: d["tag"]["characters"].append("ß"),
    "fewer tags": lambda d: d["tag"]["tags"].pop(),
    "other labels": lambda d: d["tag"]["labels"].append("z"),
    "no labels": lambda d: d["tag"].update(labels=None),
    "lowercase": lambda d: d["tag"].update(lowercase="yes"),
    "column": lambda d: d["tag"].update(column=[1]),
    "no tag": lambda d: d.pop("tag"),
    "a list": lambda d: d.update(tag=[1]),
    "places": lambda d: stage(d, "spellings").update(inputs=["spelling_ends", "tokens"]),
    "words by characters": lambda d: stage(d, "words").update(inputs=["spelled"]),
    "characters by words": lambda d: stage(d, "characters").update(inputs=["tokens"]),
    "lengths": lambda d: stage(d, "spelling").update(inputs=["characters", "lengths"]),
    "joined": lambda d: stage(d, "joined").update(inputs=["words", "characters"]),
    "tags of the crf": lambda d: stage(d, "path")["options"].update(tags=4),
    "pool": lambda d: stage(d, "whole").update(inputs=["characters", "spelled_lengths"]),
    "answer": lambda d: d["stages"].pop(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_file__rejects(damage) -> None:
    module = tag_module(tag_config())
    document = deepcopy(tag_document(tag_config(), module))
    damage(document)
    with pytest.raises(ModelFileError, match="damaged"):
        TagModel(document, module.arrays())


def test_vocabulary_of_one__matches_a_defined_result() -> None:
    config = tag_config(words=Vocabulary(["<unk>"]), tags=Vocabulary(["O"]), characters=Vocabulary(["<unk>"]))
    model = tag_model(config, tag_module(config))
    assert model.predict(["any words"])[0].tags == ("O", "O")
