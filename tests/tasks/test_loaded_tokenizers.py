"""Rooms whose tokens come from a ``tokenizer.json``."""

import io
from pathlib import Path

import numpy as np
import pytest
from helpers.foreign import FOREIGN, TEXTS

from lstmkit import Classifier, LanguageModel, Translator
from lstmkit.spec import DataError, OptionError

WRITERS = [name for name in FOREIGN if name != "quicktour"]
SENTENCES = ["the cat sat", "the cat", "sat the", "cat cat sat"] * 10
STRANGE = ["кот 猫", "the [CLS] <s> </s>", "", "the zebra 🙂"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, make in FOREIGN.items():
        make().save(str(folder / f"{name}.json"))
    return folder


@pytest.mark.parametrize("name", FOREIGN)
def test_classifier__learns_and_roundtrips(name: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text((folder / f"{name}.json").read_text())
    classifier = Classifier(level=path, max_epochs=4, members=1, hidden_size=8, learning_rate=0.02, quiet=True)
    classifier.fit(SENTENCES, ["yes" if "sat" in text else "no" for text in SENTENCES])
    path.unlink()
    classifier.save(tmp_path / "model")
    again = Classifier.load(tmp_path / "model")
    assert again.predict(["the cat sat", "the cat"]) == ["yes", "no"]
    np.testing.assert_allclose(again.probabilities(STRANGE), classifier.probabilities(STRANGE), atol=1e-6)
    assert len(classifier.explain(["кот the cat"])) == 1


def test_language_model__learns_lines(folder: Path) -> None:
    lines = ["the cat sat", "cat the cat sat"]
    options = {"hidden_size": 24, "embedding_size": 16, "num_layers": 1, "dropout": 0.0, "tied": False, "seed": 1}
    model = LanguageModel(folder / "gpt2.json", **options, max_steps=200, learning_rate=0.02, batch_size=4, quiet=True)
    model.fit(io.StringIO("\n".join(lines * 40) + "\n"))
    written = model.generate("the cat sat\n", 60, temperature=0).split("\n")
    assert set(written[:-1]) <= {*lines}
    assert len(written) > 2


@pytest.mark.parametrize("name", WRITERS)
def test_language_model__roundtrips(name: str, folder: Path, tmp_path: Path) -> None:
    options = {"hidden_size": 4, "embedding_size": 4, "num_layers": 1, "max_steps": 2, "quiet": True}
    model = LanguageModel(folder / f"{name}.json", **options).fit(io.StringIO("\n".join(TEXTS)))
    model.save(tmp_path / "model")
    again = LanguageModel.load(tmp_path / "model")
    assert again.score(STRANGE) == model.score(STRANGE)
    for prompt in STRANGE:
        assert again.generate(prompt, 20, seed=1) == model.generate(prompt, 20, seed=1)


def test_language_model__counts_unknown_words(folder: Path) -> None:
    options = {"hidden_size": 4, "embedding_size": 4, "num_layers": 1, "max_steps": 2, "quiet": True}
    model = LanguageModel(folder / "words.json", **options).fit(io.StringIO("the cat sat\n" * 40))
    found = model.score(["the zebra sat", "<s> the"])
    assert [one.unknown for one in found] == [1, 0]
    assert [one.tokens for one in found] == [4, 3]


def test_translator__learns_to_write_pieces(folder: Path) -> None:
    options = {"embedding_size": 16, "hidden_size": 24, "dropout": 0.0, "learning_rate": 0.02, "quiet": True}
    sources, targets = ["1", "2", "3"] * 12, ["the cat sat", "cat the", "sat sat the cat"] * 12
    translator = Translator(
        source_level="character", target_level=folder / "bert.json", max_steps=250, label_smoothing=0.0, **options
    )
    answers = translator.fit(sources, targets).predict(["1", "2", "3"])
    assert {word for answer in answers for word in answer.split()} == {"the", "cat", "sat"}
    assert len({*answers}) == 3


@pytest.mark.parametrize("name", WRITERS)
def test_translator__roundtrips(name: str, folder: Path, tmp_path: Path) -> None:
    options = {"embedding_size": 8, "hidden_size": 8, "max_steps": 2, "quiet": True}
    translator = Translator(source_level="word", target_level=folder / f"{name}.json", **options)
    translator.fit(TEXTS, TEXTS)
    assert ("word_error_rate" in translator.scores) == (name == "words")
    translator.save(tmp_path / "model")
    again = Translator.load(tmp_path / "model")
    assert again.predict(STRANGE) == translator.predict(STRANGE)
    assert again.evaluate(TEXTS[:2], TEXTS[:2]) == translator.evaluate(TEXTS[:2], TEXTS[:2])


def test_translator__takes_one_vocabulary_for_both_sides(folder: Path) -> None:
    options = {"embedding_size": 4, "hidden_size": 4, "max_steps": 2, "quiet": True}
    translator = Translator(level=folder / "bert.json", **options).fit(SENTENCES, SENTENCES)
    assert translator.model.encoders.source is translator.model.encoders.target
    assert len(translator.model.document["tokenizers"]) == 1
    # What nothing joins again can be read, but not written.
    reader = Translator(source_level=str(folder / "quicktour.json"), target_level="word", size=5, **options)
    assert len(reader.fit(SENTENCES, SENTENCES).model.encoders.target) == 5
    with pytest.raises(DataError, match="decoder"):
        Translator(target_level=folder / "quicktour.json", **options).fit(SENTENCES, SENTENCES)


@pytest.mark.parametrize(
    ("room", "options", "option"),
    [
        (Classifier, {"lowercase": True}, "lowercase"),
        (Classifier, {"min_count": 3}, "min_count"),
        (LanguageModel, {"lowercase": True}, "lowercase"),
        (LanguageModel, {"min_count": 2}, "min_count"),
        (LanguageModel, {"vocabulary_size": 100}, "vocabulary_size"),
        (LanguageModel, {"split_punctuation": False}, "split_punctuation"),
        (Translator, {"lowercase": True}, "lowercase"),
        (Translator, {"size": 100}, "size"),
    ],
)
def test_rooms__reject_options_of_learning(room: type, options: dict, option: str) -> None:
    with pytest.raises(OptionError, match=f"^{option} is for a vocabulary that is learned, but other.json has its own"):
        room(level="other.json", **options)


@pytest.mark.parametrize("room", [Classifier, LanguageModel, Translator])
def test_rooms__reject_what_is_no_tokenizer(room: type, tmp_path: Path) -> None:
    data = {
        Classifier: (TEXTS, ["a", "b"] * 10),
        LanguageModel: (io.StringIO("\n".join(TEXTS)),),
        Translator: (TEXTS, TEXTS),
    }[room]
    with pytest.raises(OptionError, match=r"or the path of a tokenizer\.json, not 'syllable'"):
        room(level="syllable")
    with pytest.raises(DataError, match="cannot read"):
        room(level=tmp_path / "none.json", quiet=True).fit(*data)
    (tmp_path / "vocab.json").write_text('{"the": 0}')
    with pytest.raises(DataError, match="is no tokenizer; give"):
        room(level=tmp_path / "vocab.json", quiet=True).fit(*data)
