"""The classifier: what it learns, what it says of itself, what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

import lstmkit
from lstmkit.runtime import ClassifyModel
from lstmkit.spec import DataError, LSTMKitError, ModelFileError, OptionError
from lstmkit.tasks.classification import Classifier
from lstmkit.tasks.classification.fitting import Batches

from .conftest import TINY, draw_series, draw_texts


def test_classifier__learns_what_not_does(classifier: Classifier) -> None:
    texts, labels = draw_texts(200, seed=9)
    assert classifier.evaluate(texts, labels).accuracy > 0.97
    assert classifier.predict(["this not cold meal", "our cold meal"]) == ["pro", "contra"]


def test_series_classifier__learns_fast_and_slow(series_classifier: Classifier) -> None:
    assert series_classifier.evaluate(*draw_series(100, seed=5)).accuracy > 0.95


def test_scores__match_what_new_examples_show(classifier: Classifier) -> None:
    held_back = classifier.scores
    new = classifier.evaluate(*draw_texts(400, seed=4)).to_dict()
    assert held_back["examples"] == 400
    assert abs(held_back["accuracy"] - new["accuracy"]) < 0.05
    assert new["expected_calibration_error"] < 0.05


def test_probabilities__preserve_order_and_company(classifier: Classifier) -> None:
    texts = draw_texts(30, seed=2)[0] + ["", "¡zzz!", "cold " * 300]
    together = classifier.probabilities(texts)
    np.testing.assert_allclose(together.sum(1), 1)
    alone = np.concatenate([classifier.probabilities([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(classifier.probabilities(texts[::-1])[::-1], together, atol=1e-5)


def test_series__preserve_order_and_company(series_classifier: Classifier) -> None:
    series = draw_series(9, seed=3)[0]
    alone = np.concatenate([series_classifier.probabilities([one]) for one in series])
    np.testing.assert_allclose(series_classifier.probabilities(series), alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["classifier", "series_classifier"])
def test_model_file__roundtrips(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    trained: Classifier = request.getfixturevalue(kind)
    trained.save(tmp_path / "m.safetensors")
    items = (draw_texts if kind == "classifier" else draw_series)(20, seed=7)[0]
    loaded = Classifier.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.probabilities(items), trained.probabilities(items))
    assert (loaded.labels, loaded.scores) == (trained.labels, trained.scores)
    model = lstmkit.load(tmp_path / "m.safetensors")
    assert isinstance(model, ClassifyModel)
    assert model.predict(items) == trained.predict(items)


def test_labels_that_were_never_seen__are_counted_as_errors(classifier: Classifier) -> None:
    texts, labels = draw_texts(50, seed=8)
    plain = classifier.evaluate(texts, labels)
    found = classifier.evaluate([*texts, "some day"], [*labels, "perhaps"])
    assert found.unseen == {"perhaps": 1}
    assert found.accuracy == pytest.approx(plain.accuracy * 50 / 51)


def test_files__equal_lists(tmp_path: Path) -> None:
    texts, labels = draw_texts(60)
    rows = list(zip(texts, labels, strict=True))
    (tmp_path / "t.tsv").write_text("what\tclass\n" + "".join(f"{t}\t{y}\n" for t, y in rows))
    lines = [json.dumps({"what": t, "class": y}) for t, y in rows]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    options = {"max_epochs": 1, "text_column": "what", "label_column": "class", **TINY}
    listed = Classifier(**options).fit(texts, labels)
    # The same texts together: a product of other rows is rounded otherwise.
    expected = listed.probabilities(texts)
    for name in ("t.tsv", "t.jsonl"):
        found = Classifier(**options).fit(tmp_path / name)
        np.testing.assert_array_equal(found.probabilities(texts), expected)
        np.testing.assert_array_equal(found.probabilities(str(tmp_path / name)), expected)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"what": texts, "class": labels})
    np.testing.assert_array_equal(Classifier(**options).fit(frame).probabilities(frame), expected)
    with pytest.raises(DataError, match="no column 'text'; name another with text_column="):
        Classifier(**TINY).fit(frame)
    frame.loc[3, "what"] = None
    with pytest.raises(DataError, match="row 4 of the column 'what' holds"):
        listed.predict(frame)
    (tmp_path / "p.txt").write_text("\n".join([*texts[:5], ""]))
    np.testing.assert_array_equal(listed.probabilities(tmp_path / "p.txt"), listed.probabilities(texts[:5]))


def test_same_seed__equals_same_model() -> None:
    texts, labels = draw_texts(60)
    first, second, other = (Classifier(max_epochs=1, seed=s, **TINY).fit(texts, labels) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.probabilities(texts), second.probabilities(texts))
    assert (first.probabilities(texts) != other.probabilities(texts)).any()


def test_checkpoint__roundtrips_a_killed_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is killed in the middle goes on to the weights that it would have had."""
    texts, labels = draw_texts(60)
    options = {"max_epochs": 1, "checkpoint": tmp_path / "c", **TINY}
    whole = Classifier(**options).fit(texts, labels)
    assert not (tmp_path / "c").exists()
    calls = {"count": 0}
    plain = Batches.__call__

    def killed(self: Batches, epoch: int) -> object:
        calls["count"] += 1
        if calls["count"] == 4:
            raise OSError("killed")
        return plain(self, epoch)

    monkeypatch.setattr(Batches, "__call__", killed)
    monkeypatch.setattr("lstmkit.training.run._CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(OSError, match="killed"):
        Classifier(**options).fit(texts, labels)
    monkeypatch.setattr(Batches, "__call__", plain)
    resumed = Classifier(**options).fit(texts, labels)
    np.testing.assert_array_equal(resumed.probabilities(texts), whole.probabilities(texts))
    with pytest.raises(DataError, match="every example"):
        Classifier(**options).fit(texts, ["x"] * 60)


@pytest.mark.parametrize("level", ["character", "bpe", "wordpiece"])
def test_levels__learn_nothing_but_run(level: str) -> None:
    found = Classifier(level=level, max_epochs=1, **TINY).fit(*draw_texts(40))
    assert found.probabilities(["", "größe 🙂 مرحبا"]).shape == (2, 2)


def test_validation__never_learned_from() -> None:
    texts, labels = draw_texts(60)
    wrong = ["contra" if label == "pro" else "pro" for label in labels]
    found = Classifier(max_epochs=8, **TINY).fit(texts, labels, validation=(texts[:40], wrong[:40]))
    assert found.scores["examples"] == 40
    # Weights of the opinions fall to nothing where they are always wrong, but the labels are not turned round.
    assert found.scores["accuracy"] < 0.8


def test_class_weights__match_a_rare_label_more_often() -> None:
    texts, labels = draw_texts(300)
    rare = [k for k, label in enumerate(labels) if label == "pro"][:15]
    common = [k for k, label in enumerate(labels) if label == "contra"]
    kept = [*rare, *common]
    options = {"max_epochs": 1, **TINY}
    picked = [texts[k] for k in kept], [labels[k] for k in kept]
    found = {
        w: Classifier(class_weights=w, **options).fit(*picked).probabilities(texts)[:, 1].mean()
        for w in (None, "balanced")
    }
    assert found["balanced"] > found[None]


def test_long_series__are_read_in_stretches() -> None:
    random = np.random.default_rng(0)
    series = [np.concatenate([np.full(300 + k, k % 2), random.normal(0, 1, 200)]) for k in range(24)]
    found = Classifier(max_epochs=1, **TINY).fit(series, ["even" if k % 2 == 0 else "odd" for k in range(24)])
    assert found.model.reader.stretch == 4
    assert found.probabilities(series[:3]).shape == (3, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "letter"}, "level must be one of 'word', 'character', 'bpe', 'wordpiece', or the path"),
        ({"pool": "min"}, "pool must be one of"),
        ({"members": -1}, "members must be a whole number of at least 1, not -1"),
        ({"hidden_size": 0}, "hidden_size must be"),
        ({"dropout": 1.0}, "dropout must be a number from 0 to below 1, not 1.0"),
        ({"class_weights": "equal"}, "class_weights must be 'balanced' or"),
        ({"class_weights": {"a": -1}}, "class_weights must be 'balanced' or"),
    ],
)
def test_options__reject(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Classifier(**options)


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (["a", "b"], None, "give labels="),
        (["a", "b"], ["x"], "2 examples, but 1 labels"),
        ([], [], "no examples"),
        (["a", "b"], ["x", "x"], "every example has the label 'x'"),
        (["a", "b"], ["x", " "], "example 2 has an empty label"),
        ([f"t {k}" for k in range(60)], [f"{k}" for k in range(60)], "60 different labels in 60 examples"),
        (["a", np.ones(3)], ["x", "y"], "texts alone or series alone"),
        ([np.ones((2, 2, 2))], ["x"], r"an array of the shape \(steps,\)"),
        ([np.ones((5, 2)), np.ones((5, 3))], ["x", "y"], r"series 2 has the shape \(5, 3\)"),
        ([np.full((5, 1), np.nan), np.full((5, 1), np.nan)], ["x", "y"], "no values at all"),
        (["", ""], ["x", "y"], "no token"),
        (Path("nowhere.csv"), None, "is not there"),
    ],
)
def test_fit__rejects(data: object, labels: list[str] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Classifier(**TINY).fit(data, labels)


def test_predict__rejects_what_the_model_does_not_read(classifier: Classifier, series_classifier: Classifier) -> None:
    with pytest.raises(DataError, match="classifies texts, but the data are series"):
        classifier.predict([np.ones((4, 2))])
    with pytest.raises(DataError, match="classifies series, but the data are text"):
        series_classifier.predict(["a"])
    with pytest.raises(DataError, match=r"series 1 has the shape \(4, 3\)"):
        series_classifier.predict([np.ones((4, 2)), np.ones((4, 3))])
    with pytest.raises(DataError, match="infinite"):
        series_classifier.predict([np.full((4, 2), np.inf)])
    with pytest.raises(DataError, match="a list of texts, got one text"):
        classifier.model.probabilities("one text")
    with pytest.raises(LSTMKitError, match="has not been trained"):
        Classifier().predict(["a"])


def test_load__rejects_models_of_other_tasks(tmp_path: Path, classifier: Classifier) -> None:
    classifier.save(tmp_path / "m")
    with pytest.raises(ModelFileError, match="not 'forecast'"):
        lstmkit.Forecaster.load(tmp_path / "m")
