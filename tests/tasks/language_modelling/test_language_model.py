"""The estimator, on texts that are small enough to be learned in a second."""

import io
import json
import math

import numpy as np
import pytest
import torch

import lstmkit
from lstmkit import LanguageModel
from lstmkit.spec import DataError, LSTMKitError, OptionError
from lstmkit.tasks.language_modelling.dynamic import dynamic_surprise

LINES = ["the cat sat on the mat", "the dog lay on the rug", "a bird sang in the tree"]
TEXT = "\n".join(LINES * 40) + "\n"
STRANGE = "tac eht no tas tam eht\n" * 60
SMALL = {"hidden_size": 24, "embedding_size": 16, "num_layers": 1, "dropout": 0.0, "quiet": True, "device": "cpu"}


def trained(level="character", text=TEXT, **options):
    return LanguageModel(level, **{**SMALL, "max_steps": 150, "learning_rate": 0.02, "batch_size": 8, **options}).fit(
        io.StringIO(text)
    )


@pytest.fixture(scope="module")
def model():
    return trained(max_steps=300)


@pytest.mark.parametrize("level", ["word", "bpe", "character"])
def test_language_model__learns_a_text(level):
    model = trained(level, tied=False, vocabulary_size=300 if level == "bpe" else None, max_steps=300)
    # The three lines come one after the other, so almost all can be foreseen.
    assert model.scores["nats_per_token"] < 0.5
    assert model.generate("a bird sang in", 4, temperature=0).startswith(" the")


def test_generate__writes_the_next_lines(model):
    assert model.generate(LINES[0] + "\n", len(LINES[1]) + 1, temperature=0) == LINES[1] + "\n"
    assert model.generate(LINES[0] + "\n", len(LINES[1]) + 1, beam=4) == LINES[1] + "\n"
    assert "".join(model.write("the", 9)) != ""
    assert len(model.generate("", 50, top_k=5, seed=1)) == 50


def test_generate__equals_itself__same_seed(model):
    one, two, other = (model.generate("the ", 60, temperature=2.0, seed=seed) for seed in (3, 3, 4))
    assert one == two != other


def test_scores__match_each_other(model):
    found = model.evaluate(io.StringIO(TEXT))
    assert found.perplexity == pytest.approx(math.exp(found.nats_per_token))
    assert found.tokens == found.characters == len(TEXT)
    assert found.bits_per_character == pytest.approx(found.nats_per_token / math.log(2))
    assert json.loads(json.dumps(found.to_dict()))["perplexity"] == found.perplexity
    assert "perplexity" in str(found)


def test_bits_per_character__match_the_sum_over_words():
    model = trained("word", max_steps=20)
    found = model.evaluate(io.StringIO(TEXT))
    assert found.tokens == sum(len(line.split()) + 1 for line in LINES * 40)
    assert found.characters == len(TEXT)
    assert found.bits_per_character * len(TEXT) * math.log(2) == pytest.approx(found.nats_per_token * found.tokens)


def test_score__matches_evaluate__of_each_text(model):
    texts = ["the cat", "the rug\na tree", "zzz"]
    found = model.score(texts)
    assert [each.tokens for each in found] == [8, 15, 4]
    for text, each in zip(texts, found, strict=True):
        assert each == model.evaluate(io.StringIO(text))
    assert found[2].unknown == 3
    assert found[2].nats_per_token > found[0].nats_per_token


def test_model__roundtrips(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    again = LanguageModel.load(tmp_path / "model.safetensors")
    assert again.level == "character"
    assert again.scores == model.scores
    assert again.generate("the", 30, seed=1) == model.generate("the", 30, seed=1)
    assert isinstance(lstmkit.load(tmp_path / "model.safetensors"), lstmkit.runtime.LMModel)


def test_validation_text__is_never_learned_from(tmp_path):
    (tmp_path / "train.txt").write_text(TEXT)
    (tmp_path / "valid.txt").write_text("xyz xyz\n" * 30)
    model = LanguageModel("character", **SMALL, max_steps=30).fit(
        tmp_path / "train.txt", validation=tmp_path / "valid.txt"
    )
    assert model.scores["unknown"] == 4 * 30
    assert model.scores["tokens"] == 8 * 30


def test_files__match_one_text(tmp_path):
    (tmp_path / "one.txt").write_text("\n".join(LINES * 20) + "\n")
    (tmp_path / "two.csv").write_text("text,other\n" + "\n".join(f"{line},1" for line in LINES * 20) + "\n")
    model = LanguageModel("word", **SMALL, batch_size=8, max_steps=3).fit([tmp_path / "one.txt", tmp_path / "two.csv"])
    assert model.generate("the", 20, seed=1) == trained("word", max_steps=3, learning_rate=None).generate(
        "the", 20, seed=1
    )


def test_killed_training__equals_an_uninterrupted_one(tmp_path, monkeypatch):
    from lstmkit.tasks.language_modelling.network import LanguageNetwork

    options = {"max_steps": 24, "validate_every": 9, "dropout": 0.2}
    whole = trained(**options)
    forward, calls = LanguageNetwork.forward, 0

    def crash(self, batch):
        nonlocal calls
        calls += 1
        if calls == 14:
            raise RuntimeError("killed")
        return forward(self, batch)

    from lstmkit.training import TrainingConfig

    every = TrainingConfig.__init__
    monkeypatch.setattr(TrainingConfig, "__init__", lambda self, **given: every(self, checkpoint_every=4, **given))
    monkeypatch.setattr(LanguageNetwork, "forward", crash)
    with pytest.raises(RuntimeError, match="killed"):
        trained(**options, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").exists()
    resumed = trained(**options, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(resumed.model.surprise(np.arange(9)), whole.model.surprise(np.arange(9)))
    assert resumed.scores == whole.scores


def test_adaptive_softmax__learns():
    model = trained("word", adaptive=5)
    assert model.model.stages[-1].kind == "adaptive_softmax"
    assert model.scores["nats_per_token"] < 0.5


def test_dynamic_evaluation__learns_a_text_of_another_kind(model):
    strange = io.StringIO(STRANGE)
    plain, dynamic = model.evaluate(strange), model.evaluate(strange, dynamic=True)
    assert dynamic.dynamic
    assert not plain.dynamic
    assert dynamic.perplexity < 0.98 * plain.perplexity
    assert model.evaluate(strange) == plain


def test_dynamic_evaluation__learns_more__with_larger_steps(model):
    tokens = model.model.text.lines(STRANGE.splitlines())
    rates = [dynamic_surprise(model.model, tokens, rate=rate, back=0.0) for rate in (0.0, 1e-3, 1e-2)]
    assert rates[1] < 0.9 * rates[0]
    assert rates[2] < rates[1]


def test_dynamic_evaluation__matches_the_model__without_steps(model):
    tokens = model.model.text.lines(LINES)
    plain = model.model.surprise(tokens).sum()
    assert dynamic_surprise(model.model, tokens, rate=0.0, back=0.0) == pytest.approx(plain, rel=1e-4)


def test_bfloat16__never_changes_a_score_much(model):
    one = model.model.stream().feed(np.arange(3, 12))
    two = model.model.stream(precision="bfloat16").feed(np.arange(3, 12))
    assert 0 < np.abs(one - two).max() < 0.3


@pytest.mark.parametrize("text", ["a" * 500, "\n" * 300, "ab\n" * 20])
def test_strange_texts__are_learned(text):
    model = trained(text=text, max_steps=10)
    assert math.isfinite(model.scores["perplexity"])
    assert len(model.generate("", 5)) == 5


def test_words__of_a_text_without_any__reject_it():
    with pytest.raises(DataError, match="no token"):
        trained("word", text="\n" * 300)


def test_unicode__is_counted_as_it_is_read():
    text = "日本語を読む\nḗ é 👩‍👩‍👧\n" * 40
    model = trained(text=text, max_steps=5)
    assert model.evaluate(io.StringIO("日本\n")).unknown == 0
    assert model.evaluate(io.StringIO("Ж\n")).unknown == 1


def test_nothing__is_printed__when_quiet(capsys):
    trained(max_steps=2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "phoneme"}, "level must be one of 'word', 'bpe', 'character'"),
        ({"recipe": "huge"}, "recipe must be one of"),
        ({"hidden_size": 0}, "hidden_size must be a whole number"),
        ({"dropout": 1.0}, "dropout must be a number from 0 to below 1"),
        ({"adaptive": 0}, "adaptive must be a whole number"),
        ({"vocabulary_size": 0}, "vocabulary_size must be a whole number"),
    ],
)
def test_language_model__rejects_options(options, message):
    with pytest.raises(OptionError, match=message):
        LanguageModel(**options)


def test_language_model__rejects_what_it_cannot_learn_from(tmp_path):
    with pytest.raises(DataError, match="a text of 3 tokens is too short"):
        trained(text="ab")
    with pytest.raises(DataError, match="no file was given"):
        LanguageModel(quiet=True).fit([])
    with pytest.raises(OptionError, match="leaves no rare tokens"):
        trained("word", adaptive=500)
    with pytest.raises(LSTMKitError, match="has not been trained"):
        LanguageModel().generate()
    with pytest.raises(OptionError, match="draws nothing"):
        trained(max_steps=1).generate("a", 2, beam=2, top_k=3)


def test_threads__are_left_as_they_were():
    before = torch.get_num_threads()
    trained(max_steps=1)
    assert torch.get_num_threads() == before
