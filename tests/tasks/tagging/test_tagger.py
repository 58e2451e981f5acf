"""The tagger that people call: what it learns, what it keeps, what it refuses."""

import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tagged import TINY, as_conll, draw_sentences

from lstmkit.data import Sentence
from lstmkit.features import tag_transitions
from lstmkit.nn import StagedModel
from lstmkit.spec import DataError, LSTMKitError, ModelFileError, OptionError
from lstmkit.tasks.tagging import Tagger
from lstmkit.tasks.tagging.batches import Batches, make_batch
from lstmkit.tasks.tagging.fitting import Recipe, fit_model, tagging_loss
from lstmkit.tasks.tagging.model import tag_stages
from lstmkit.training import TrainingConfig


def test_tagger__learns_endings_and_places(tagger: Tagger) -> None:
    """Hardly any name of the test was in training, so its characters and its place have to be read."""
    found = tagger.evaluate(draw_sentences(60, seed=2))
    assert found.spans is not None
    assert found.spans.f1 > 0.95
    assert found.intent_accuracy == 1.0
    assert found.unknown_words > 60
    assert tagger.scores["f1"] > 0.95


def test_entities__match_the_users_text(tagger: Tagger) -> None:
    text = "  Kazason lives in New Rimiville?"
    (tagged,) = tagger.predict([text])
    assert [entity[2:] for entity in tagged.entities] == [("person", "Kazason"), ("place", "New Rimiville")]
    assert all(text[entity.start : entity.end] == entity.text for entity in tagged.entities)
    assert tagged.label == "ask"


def test_file__roundtrips(tagger: Tagger, tmp_path: Path) -> None:
    tagger.save(tmp_path / "m.safetensors")
    other = Tagger.load(tmp_path / "m.safetensors")
    words = [sentence[0] for sentence in draw_sentences(9, seed=5)]
    assert other.predict(words) == tagger.predict(words)
    assert other.scores == tagger.scores
    assert other.column == "last"


def test_files__match_lists(tmp_path: Path) -> None:
    sentences = draw_sentences(40)
    for part, name in ((sentences[:25], "a.conll"), (sentences[25:], "b.conll")):
        (tmp_path / name).write_text(as_conll(part))
    paths = [tmp_path / "a.conll", str(tmp_path / "b.conll")]
    one = Tagger(max_epochs=1, **TINY).fit(paths)
    two = Tagger(max_epochs=1, **TINY).fit(sentences)
    for name, own in one.model.weights.items():
        for short, array in own.items():
            np.testing.assert_array_equal(array, two.model.weights[name][short])
    assert one.evaluate(paths).to_dict() == two.evaluate(sentences).to_dict()


@pytest.mark.parametrize("crf", [True, False])
def test_fit__equals_itself__and_no_other_seed(crf: bool) -> None:
    options = TINY | {"max_epochs": 2, "crf": crf}
    models = [Tagger(seed=seed, **options).fit(draw_sentences(20)).model for seed in (3, 3, 4)]
    first, again, other = (model.weights["scores"]["weight"] for model in models)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert ("path" in models[0].weights) == crf


def test_tags_without_spans__match_accuracy() -> None:
    sentences = [(["the", "cat", "sat"], ["DET", "NOUN", "VERB"]), (["the", "dog"], ["DET", "NOUN"])] * 8
    tagger = Tagger(max_epochs=150, **TINY).fit(sentences)
    found = tagger.evaluate(sentences)
    assert (found.accuracy, found.spans, found.intent_accuracy) == (1.0, None, None)
    assert {name: score.support for name, score in found.types.items()} == {"DET": 16, "NOUN": 16, "VERB": 8}
    (tagged,) = tagger.predict(["The cat sat"])
    assert (tagged.tags, tagged.entities, tagged.label) == (("DET", "NOUN", "VERB"), [], None)


def test_unseen_tags__count_as_errors(tagger: Tagger) -> None:
    sentences = [(["Zuzason", "lives"], ["B-animal", "O"], "sing"), (["Zuzason", "lives"], ["B-person", "O"], "tell")]
    found = tagger.evaluate(sentences)
    assert found.unseen == {"B-animal": 1, "sing": 1}
    assert found.types["animal"].f1 == 0.0
    assert found.accuracy <= 0.75
    assert "never seen in training, counted as errors: B-animal (1), sing (1)" in str(found)


def test_unseen_validation_tags__never_stop_training() -> None:
    held = [(["Zuzason", "lives"], ["B-animal", "O"], "sing")]
    tagger = Tagger(max_epochs=1, **TINY).fit(draw_sentences(20), validation=held)
    assert tagger.scores["unseen"] == {"B-animal": 1, "sing": 1}


def test_one_sentence__matches_a_defined_result() -> None:
    """One word, one tag, nothing to hold back."""
    tagger = Tagger(max_epochs=2, **TINY).fit([(["a"], ["X"])])
    assert tagger.predict(["b c"])[0].tags == ("X", "X")
    assert tagger.scores == {}


def test_long_sentence__matches_a_defined_result(tagger: Tagger) -> None:
    """Far longer than any in training."""
    words = [word for sentence in draw_sentences(300, seed=7) for word in sentence[0]]
    (tagged,) = tagger.predict([words])
    assert len(tagged.tags) == len(words) > 1500
    assert {entity.label for entity in tagged.entities} <= {"person", "place"}


def test_predict_file__matches_predict(tagger: Tagger, tmp_path: Path) -> None:
    lines = ["Kazason lives in Rimiville.", "", "Who?"]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    assert [*tagger.predict_file(tmp_path / "a.txt")] == tagger.predict(lines)
    sentences = draw_sentences(3)
    (tmp_path / "a.conll").write_text(as_conll(sentences))
    assert [*tagger.predict_file(tmp_path / "a.conll")] == tagger.predict([words for words, *_ in sentences])


def test_conllu_text__gives_offsets(tmp_path: Path) -> None:
    rows = ["# text = He didn't.", "1-2\tHe\t_\t_\t_\t_\t_\t_\t_\t_"]
    rows += [f"{k}\t{w}\t_\tX\t_\t_\t_\t_\t_\t_" for k, w in enumerate(["He", "did", "n't", "."], 1)]
    (tmp_path / "a.conllu").write_text("\n".join(rows) + "\n")
    tagger = Tagger("upos", max_epochs=1, **TINY).fit(tmp_path / "a.conllu")
    (tagged,) = tagger.predict_file(tmp_path / "a.conllu")
    assert [(word.start, word.end) for word in tagged.words] == [(0, 2), (3, 6), (6, 9), (9, 10)]


def test_checkpoint__preserves_a_stopped_training(tmp_path: Path) -> None:
    """A training that stops by itself after Ctrl-C goes on to the weights of one that was never stopped."""
    sentences = draw_sentences(48)
    options = TINY | {"max_epochs": 8}
    whole = Tagger(**options).fit(sentences)
    stopped = Tagger(checkpoint=tmp_path / "run", **options)
    threading.Thread(target=lambda: (time.sleep(0.4), signal.raise_signal(signal.SIGINT)), daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "tensors", _slowly(Batches.tensors))
        stopped.fit(sentences)
    assert stopped.interrupted
    assert (tmp_path / "run").exists()
    again = Tagger(checkpoint=tmp_path / "run", **options).fit(sentences)
    np.testing.assert_array_equal(again.model.weights["scores"]["weight"], whole.model.weights["scores"]["weight"])
    assert not (tmp_path / "run").exists()


def _slowly(batch):
    def slow(*arguments):
        time.sleep(0.08)
        return batch(*arguments)

    return slow


def test_batches__make_rare_words_unknown() -> None:
    """A word that was seen twice is made unknown with the probability 0.25 / 2.25, one seen 1,200 times never."""
    rare = [f"rare{first}{second}" for first in "abcdefghijklmnopqrst" for second in "abcdefghij"] * 2
    sentences = [Sentence(("often", "often", "often", word), ("O",) * 4) for word in rare]
    batches = Batches(Tagger(**TINY)._config(sentences), sentences, 32)
    np.random.seed(0)
    tokens = torch.cat([batches.tensors(batch)["tokens"] for batch in batches(0)])
    assert 0.05 < (tokens[:, -1] == 0).float().mean() < 0.2
    assert (tokens[:, :-1] != 0).float().mean() > 0.99


def test_loss__never_reads_padding() -> None:
    sentences = [Sentence(*sentence) for sentence in draw_sentences(4)]
    config = Tagger(**TINY)._config(sentences)
    tagger = Tagger(max_epochs=1, **TINY).fit(draw_sentences(8))
    torch.manual_seed(0)
    module = StagedModel(tag_stages(config, tagger.sizes)).eval()
    allowed = tag_transitions(config.tags.names)
    forbidden = [torch.from_numpy(np.where(may, 0, -1e4).astype(np.float32)) for may in allowed]
    batch = make_batch(config, [sentences[0], Sentence(("a",), ("O",), "ask")])
    losses = []
    for filler in (0, 1):
        changed = {name: tensor.clone() for name, tensor in batch.items()}
        for name in ("tokens", "places", "tags"):
            changed[name][1, 1:] = filler
        changed["spelled"][torch.arange(batch["spelled"].shape[1]) >= batch["spelled_lengths"][:, None]] = filler
        losses.append([(total / count).item() for total, count in tagging_loss(module, changed, forbidden)])
    assert losses[0] == losses[1]


def test_sentences_without_labels__count_nothing() -> None:
    """Labels may be given for a part of the sentences alone."""
    sentences = [*draw_sentences(10), *((words, tags) for words, tags, _ in draw_sentences(30, seed=4))]
    tagger = Tagger(max_epochs=1, batch_size=4, **{k: v for k, v in TINY.items() if k != "batch_size"}).fit(sentences)
    assert tagger.predict(["Who?"])[0].label in ("ask", "tell")
    assert np.isfinite(tagger.model.weights["label_scores"]["weight"]).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "got none"),
        ([(["a", "b"], ["O"])], "sentence 0 has 2 words and 1 tags"),
        ([(["a"], ["O"]), (["a"], [])], "sentence 1 has 1 words and 0 tags"),
        ([([], [])], "sentence 0 has 0 words"),
        ([(["a", ""], ["O", "O"])], "texts that are not empty"),
        ([(["a"], [3])], "texts that are not empty"),
        ([(["a"], ["O"], 3)], "label of sentence 0 must be a text"),
        ([("a b", "O O")], "expected \\(words, tags\\)"),
        (["a b"], "is not there"),
    ],
)
def test_fit__rejects_data(data, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Tagger(**TINY).fit(data)


@pytest.mark.parametrize(
    "options", [{"hidden_size": 0}, {"dropout": 1.0}, {"batch_size": 2.5}, {"max_epochs": 0}, {"learning_rate": -1.0}]
)
def test_tagger__rejects_options(options) -> None:
    with pytest.raises(OptionError):
        Tagger(**(TINY | options)).fit(draw_sentences(4))


def test_column__rejects_early() -> None:
    with pytest.raises(OptionError, match="is no column"):
        Tagger("nonsense")


def test_untrained__rejects() -> None:
    with pytest.raises(LSTMKitError, match="Tagger has not been trained"):
        Tagger().predict(["a"])


def test_load__rejects_other_tasks(tmp_path: Path) -> None:
    from helpers.models import forecast_config, forecast_model

    forecast_model(forecast_config()).save(tmp_path / "f")
    with pytest.raises(ModelFileError, match="not 'tag'"):
        Tagger.load(tmp_path / "f")


def test_fit_model__preserves_random_states() -> None:
    sentences = [Sentence(*sentence) for sentence in draw_sentences(6)]
    tagger = Tagger(**TINY)
    recipe = Recipe(
        tagger._config(sentences), tagger.sizes, TrainingConfig(max_epochs=1, quiet=True, device="cpu"), 2, 0.1
    )
    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    before = np.random.random(), float(torch.rand(1)), random.random()
    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    fit_model(recipe, sentences, sentences)
    assert before == (np.random.random(), float(torch.rand(1)), random.random())


def test_parts_of_a_batch__match_the_whole() -> None:
    """Several processes each take some rows of a batch: sums and counts of the parts are those of the whole."""
    sentences = [Sentence(*sentence) for sentence in draw_sentences(12)]
    tagger = Tagger(**TINY)
    config = tagger._config(sentences)
    batches = Batches(config, sentences, 12)
    module = StagedModel(tag_stages(config, tagger.sizes)).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lstmkit.tasks.tagging.batches._UNKNOWN_RATE", 0.0)
        (batch,) = batches(0)
    shares = (slice(None), slice(None, None, 2), slice(1, None, 2))
    with torch.no_grad():
        whole, *parts = (
            torch.tensor(tagging_loss(module, batches.tensors(some), [torch.zeros(())] * 3)).double()
            for some in ({name: tensor[own] for name, tensor in batch.items()} for own in shares)
        )
    torch.testing.assert_close(whole, sum(parts), rtol=1e-5, atol=1e-5)
