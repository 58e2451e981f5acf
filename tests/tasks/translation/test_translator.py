"""The translator: it learns, keeps its word about held-back pairs, survives a kill, and says what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from lstmkit import Translator
from lstmkit.data import Pairs
from lstmkit.runtime import Search, TranslateModel, Translation, read_model, write_model
from lstmkit.spec import DataError, LSTMKitError, ModelFileError, OptionError
from lstmkit.tasks.translation.evaluation import evaluate_pairs

DIGITS = ["zero", "one", "two", "three", "four"]
TINY = {"embedding_size": 8, "hidden_size": 8, "quiet": True}


def reversed_numbers(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Digits in one order, their names in the other."""
    random = np.random.default_rng(seed)
    rows = [random.integers(0, len(DIGITS), random.integers(1, 5)) for _ in range(count)]
    return ["".join(map(str, row)) for row in rows], [" ".join(DIGITS[k] for k in row[::-1]) for row in rows]


@pytest.fixture(scope="module")
def translator() -> Translator:
    options = {"source_level": "character", "target_level": "symbol", "dropout": 0.1, "quiet": True}
    learner = Translator(**options, embedding_size=24, hidden_size=32, max_steps=300, learning_rate=1e-2)
    return learner.fit(*reversed_numbers(600))


def test_translator__learns_to_reverse(translator: Translator) -> None:
    sources, targets = reversed_numbers(100, seed=9)
    evaluation = translator.evaluate(sources, targets)
    assert evaluation.word_error_rate is not None
    assert evaluation.word_error_rate < 5
    assert evaluation.perplexity < 1.3
    assert evaluation.bleu > 90
    assert translator.scores["pairs"] == 60


def test_evaluation__equals_published_scorer(translator: Translator) -> None:
    sources, targets = reversed_numbers(50, seed=3)
    wrong = [f"{target} one" if k % 3 else target.replace("two", "Two") for k, target in enumerate(targets)]
    found = translator.evaluate(sources, wrong, lowercase=True)
    answers = translator.predict(sources)
    assert found.answers == tuple(answers)
    expected = sacrebleu.corpus_bleu(answers, [wrong], lowercase=True, tokenize="none", force=True).score
    assert found.bleu == pytest.approx(expected)
    assert found.chrf == pytest.approx(sacrebleu.corpus_chrf(answers, [wrong]).score)
    assert "case:lc" in found.signature
    assert found.word_error_rate == pytest.approx(
        100 * np.mean([one != other for one, other in zip(answers, wrong, strict=True)])
    )


def test_sentences__equal_published_scorer(translator: Translator) -> None:
    answers = ["the cat sat on the mat .", "a dog"]
    pairs = Pairs(["1", "2"], ["The cat sat on a mat.", "a dog barks"])
    found = evaluate_pairs(translator.model, pairs, answers, "bpe")
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(answers, [pairs.targets]).score)
    assert found.to_dict().keys() == {"pairs", "perplexity", "bleu", "chrf", "signature"}


def test_file__roundtrips_answers(translator: Translator, tmp_path) -> None:
    translator.save(tmp_path / "m")
    other = Translator.load(tmp_path / "m")
    sources = ["12", "", "40", "9x"]
    assert other.predict(sources, beam=3) == translator.predict(sources, beam=3)
    assert other.scores == translator.scores
    assert (other.levels.source, other.levels.target) == ("character", "symbol")


def test_translations__rank_answers_by_score(translator: Translator) -> None:
    (answers,) = translator.translations(["123"], beam=4, n_best=4)
    assert len({answer.text for answer in answers}) == 4
    assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)
    assert isinstance(answers[0], Translation)
    assert answers[0].source_tokens == ("1", "2", "3", "</s>")
    assert answers[0].tokens == ("three", "two", "one", "</s>")


def test_same_seed__equals_same_model__and_another_does_not(tmp_path) -> None:
    names = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        learner = Translator(**TINY, level="character", max_steps=4, seed=seed)
        learner.fit(*reversed_numbers(40))
        learner.save(tmp_path / name)
        names[name] = (tmp_path / name).read_bytes()
    assert names["a"] == names["b"] != names["c"]


def test_fit__never_learns_from_validation() -> None:
    sources, targets = reversed_numbers(60)
    answers = []
    for judged in ((["1", "2"], ["one", "two"]), (["hund"], ["katze"])):
        learner = Translator(**TINY, level="character", max_steps=1).fit(sources, targets, validation=judged)
        answers.append(learner.model.weights["scores"]["bias"])
        assert learner.model.encoders.source.find("h") is None
    np.testing.assert_array_equal(*answers)


def test_checkpoint__resumes_to_the_same_model(tmp_path) -> None:
    pairs = reversed_numbers(80)
    options = {**TINY, "level": "character", "max_steps": 30}
    whole = Translator(**options).fit(*pairs).model
    checkpoint = tmp_path / "c"
    with pytest.raises(RuntimeError, match="killed"):
        _fit_until_killed(options, pairs, checkpoint)
    assert checkpoint.exists()
    resumed = Translator(**options, checkpoint=checkpoint).fit(*pairs).model
    for stage, own in whole.weights.items():
        for name, array in own.items():
            np.testing.assert_array_equal(array, resumed.weights[stage][name], err_msg=f"{stage}.{name}")


def test_interrupt__keeps_the_best_model(monkeypatch, tmp_path) -> None:
    from lstmkit.tasks.translation import fitting, learning

    calls = []

    def loss(*arguments):
        calls.append(1)
        if len(calls) == 17:
            raise KeyboardInterrupt
        return learning.token_loss(*arguments)

    monkeypatch.setattr(fitting, "token_loss", loss)
    learner = Translator(**TINY, level="character", max_steps=100).fit(*reversed_numbers(80))
    assert learner.interrupted
    learner.save(tmp_path / "m")
    assert Translator.load(tmp_path / "m").interrupted


def _fit_until_killed(options: dict, pairs: tuple[list[str], list[str]], checkpoint: Path) -> None:
    from lstmkit.tasks.translation import fitting, learning
    from lstmkit.training import run

    real, calls = learning.token_loss, []

    def loss(*arguments):
        calls.append(1)
        if len(calls) == 17:
            raise RuntimeError("killed")
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "token_loss", loss)
        patch.setattr(run, "_CHECKPOINT_SECONDS", 0.0)
        Translator(**options, checkpoint=checkpoint).fit(*pairs)


@pytest.mark.parametrize("level", ["bpe", "word", "character", "letter", "symbol", "wordpiece"])
def test_every_level__serves_any_text(level: str) -> None:
    sources = ["Ein Hund, naïve!", "한국어 말", "x"] * 4
    learner = Translator(**TINY, level=level, joint=level == "bpe", size=300, max_steps=2)
    learner.fit(sources, sources[::-1])
    assert len(learner.predict(["日本 🙂", "", "Hund"], beam=2)) == 3


def test_vocabulary_of_one__is_learned() -> None:
    learner = Translator(**TINY, level="symbol", max_steps=40, learning_rate=0.05).fit(["a"] * 8, ["b"] * 8)
    assert learner.predict(["a", "unknown"]) == ["b", "b"]


def test_one_pair__is_enough() -> None:
    learner = Translator(**TINY, level="word", max_steps=2).fit(["ein Hund", ""], ["a dog", "x"])
    assert learner.scores == {}
    assert len(learner.predict(["Hund"])) == 1


@pytest.mark.parametrize(
    ("sources", "targets", "said"),
    [
        (["a", "b"], ["c"], "2 sources and 1 targets"),
        ([], [], "there is no pair"),
        (["", " "], ["a", "b"], "there is no pair"),
        ("ab", ["a", "b"], "sources to be a list"),
        (["a"], [3], "targets to be a list"),
    ],
)
def test_fit__rejects_bad_pairs(sources, targets, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Translator(**TINY).fit(sources, targets)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": "syllable"}, "level must be one of"),
        ({"target_level": "x"}, "level must be one of"),
        ({"joint": True, "source_level": "word"}, "needs one level"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"num_layers": 1.5}, "num_layers"),
        ({"batch_size": True}, "batch_size"),
        ({"dropout": 1}, "dropout"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"attention": "hard"}, "attention must be one of"),
    ],
)
def test_translator__rejects_impossible_options(options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Translator(**options)


def test_predict__rejects_one_text_and_untrained(translator: Translator) -> None:
    with pytest.raises(OptionError, match="put it into brackets"):
        translator.predict("12")
    with pytest.raises(LSTMKitError, match="has not been trained"):
        Translator().predict(["12"])


@pytest.mark.parametrize("described", [None, [], {"levels": ["bpe"]}, {"levels": ["bpe", "x"]}, {"levels": [1, {}]}])
def test_load__rejects_hostile_levels(translator: Translator, tmp_path, described) -> None:
    translator.save(tmp_path / "m")
    document, weights = read_model(tmp_path / "m")
    write_model(tmp_path / "m", {**document, "translation": described}, weights)
    with pytest.raises(ModelFileError, match="damaged"):
        Translator.load(tmp_path / "m")


def test_model_file__is_json_and_numbers(translator: Translator, tmp_path) -> None:
    translator.save(tmp_path / "m")
    document, _ = read_model(tmp_path / "m")
    assert document["task"] == "translate"
    assert json.loads(json.dumps(document)) == document
    assert isinstance(translator.model, TranslateModel)


def test_judge__equals_errors_of_greedy_search(translator: Translator) -> None:
    torch = pytest.importorskip("torch")
    from lstmkit.nn import StagedModel
    from lstmkit.runtime.model import flatten_weights
    from lstmkit.tasks.translation.learning import Judge, number_pairs

    model = translator.model
    module = StagedModel(model.stages).eval()
    weights = {name: array * np.float32(0.5) for name, array in flatten_weights(model.weights).items()}
    module.load_arrays(weights)
    worse = TranslateModel(model.document, weights)
    sources, targets = reversed_numbers(150, seed=5)
    answers = [found[0].text for found in worse.translate(sources, Search(beam=1))]
    wrong = np.mean([answer != target for answer, target in zip(answers, targets, strict=True)])
    logarithms, counts = worse.log_probabilities(sources, targets)
    pairs = number_pairs(model.encoders, Pairs(sources, targets))
    with torch.no_grad():
        assert 0 < wrong < 1
        assert Judge(pairs, 0.0, exact=True)(module) == pytest.approx(wrong - 1e-3 * logarithms.sum() / counts.sum())
        assert Judge(pairs, 0.0, exact=False)(module) == pytest.approx(-logarithms.sum() / counts.sum(), rel=1e-4)
