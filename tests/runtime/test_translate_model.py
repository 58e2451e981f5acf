"""A loaded translator: what is searched is what was trained, texts do not see each other, and no file is trusted."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.models import randomise

from lstmkit.features import END, START, TextEncoder
from lstmkit.nn import StagedModel
from lstmkit.runtime import Search, Stage, TranslateModel, load, run_stages
from lstmkit.runtime.translate_decoder import BeamDecoder, log_softmax
from lstmkit.spec import DataError, ModelFileError
from lstmkit.tasks.translation.model import ATTENTION, Sizes, translation_stages

SOURCES = ["a cab", "bad", "c", "dad cab a", "", "a z a"]
TARGETS = ["ein taxi", "schlecht", "ce", "papa taxi", "e", "ein ein"]
SOURCE = TextEncoder.train(SOURCES[:5], "character")
TARGET = TextEncoder.train(TARGETS, "word")


def make(attention: str = "multiplicative", seed: int = 0) -> tuple[StagedModel, TranslateModel]:
    stages = translation_stages(Sizes(5, 6, 2, attention, 0.3), len(SOURCE), len(TARGET))
    module = randomise(StagedModel(stages), seed)
    document = {
        "task": "translate",
        "stages": [stage.to_dict() for stage in stages],
        "tokenizers": [SOURCE.to_json(), TARGET.to_json()],
        "translation": {"levels": ["character", "word"]},
    }
    return module, TranslateModel(document, module.arrays())


@pytest.fixture(scope="module", params=ATTENTION)
def model(request) -> TranslateModel:
    return make(request.param)[1]


@pytest.mark.parametrize("attention", ATTENTION)
def test_scores__match_torch(attention: str) -> None:
    module, model = make(attention)
    random = np.random.default_rng(0)
    lengths = np.array([4, 1, 7])
    inputs = {
        "source": random.integers(0, len(SOURCE), (3, 7)),
        "source_lengths": lengths,
        "target": random.integers(0, len(TARGET), (3, 5)),
    }
    ours = model.run(inputs)
    theirs = module({name: torch.from_numpy(array) for name, array in inputs.items()})
    for name in ("encoded", "answer", "answer.weights", "scores"):
        np.testing.assert_allclose(ours[name], theirs[name].detach().numpy(), atol=5e-6, err_msg=name)
    assert not ours["answer.weights"][0, :, 4:].any()
    np.testing.assert_allclose(ours["answer.weights"].sum(-1), 1, atol=1e-6)


def test_steps__match_all_steps_at_once(model: TranslateModel) -> None:
    read = [[5, 3, END], [4, END], [6, 3, 5, 4, END]]
    forced = np.random.default_rng(1).integers(3, len(TARGET), (3, 2, 4))
    decoder = BeamDecoder(model, model._decoder_stages, model._encode(read), 2)
    steps = [decoder.step(tokens) for tokens in (np.full((3, 2), START), *forced.transpose(2, 0, 1))]
    for row, numbers in enumerate(read):
        for beam in range(2):
            inputs = {
                "source": np.array([numbers]),
                "source_lengths": np.array([len(numbers)]),
                "target": np.array([[START, *forced[row, beam]]]),
            }
            values = model.run(inputs)
            for step, (log_probs, attention) in enumerate(steps):
                expected = log_softmax(values["scores"][0, step])
                np.testing.assert_allclose(log_probs[row, beam, 2:], expected[2:], atol=5e-6)
                assert (log_probs[row, beam, :2] == -np.inf).all()
                np.testing.assert_allclose(
                    attention[row, beam, : len(numbers)], values["answer.weights"][0, step], atol=5e-6
                )


def test_answer__has_the_probability_that_is_computed_for_it(model: TranslateModel) -> None:
    search = Search(beam=3, n_best=3, length_penalty=0)
    for source, answers in zip(SOURCES, model.translate(SOURCES, search), strict=True):
        for answer in answers:
            if source and answer.tokens[-1] == "</s>":
                total, counts = model.log_probabilities([source], [answer.text])
                assert counts[0] == len(answer.tokens) == len(answer.attention)
                assert answer.score == pytest.approx(total[0], abs=1e-4)


def test_translate__matches_each_text_alone(model: TranslateModel) -> None:
    search = Search(beam=4, n_best=2, coverage_penalty=0.3)
    together = model.translate(SOURCES, search)
    for source, answers in zip(SOURCES, together, strict=True):
        (alone,) = model.translate([source], search)
        assert [one.text for one in answers] == [one.text for one in alone]
        for one, other in zip(answers, alone, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)
            assert one.attention.shape == (len(one.tokens), len(one.source_tokens))


def test_log_probabilities__match_each_pair_alone(model: TranslateModel) -> None:
    together, counts = model.log_probabilities(SOURCES, TARGETS)
    alone = [model.log_probabilities([source], [target]) for source, target in zip(SOURCES, TARGETS, strict=True)]
    np.testing.assert_allclose(together, [one[0][0] for one in alone], atol=1e-4)
    assert counts.tolist() == [3, 2, 2, 3, 2, 3]
    with pytest.raises(DataError, match="got 1 and 2"):
        model.log_probabilities(["a"], ["b", "c"])


def test_translate__equals_empty_answer__of_an_empty_text(model: TranslateModel) -> None:
    for text in ("", " \t"):
        ((answer,),) = model.translate([text], Search(n_best=3))
        assert (answer.text, answer.score, answer.attention.shape) == ("", 0.0, (1, 1))
    assert model.translate([]) == []


def test_translate__serves_what_was_never_seen(model: TranslateModel) -> None:
    texts = ["日本語 🙂", "a" * 300, "\u0301", "<s> </s>"]
    assert len(model.translate(texts, Search(beam=2))) == 4


def test_file__roundtrips_answers(model: TranslateModel, tmp_path) -> None:
    model.save(tmp_path / "m")
    other = load(tmp_path / "m")
    assert isinstance(other, TranslateModel)
    texts = [[answer.text for answer in found] for found in other.translate(SOURCES)]
    assert texts == [[answer.text for answer in found] for found in model.translate(SOURCES)]


def test_translate__matches_training_machine__without_torch(model: TranslateModel, tmp_path) -> None:
    model.save(tmp_path / "m")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"import lstmkit; print(lstmkit.load({str(tmp_path / 'm')!r}).translate(['a cab'])[0][0].text)"
    )
    found = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert found.stdout.strip() == model.translate(["a cab"])[0][0].text


def _stage(document: dict, name: str) -> dict:
    return next(stage for stage in document["stages"] if stage["name"] == name)


def _drop_tokenizers(document: dict) -> None:
    del document["tokenizers"]


def _three_tokenizers(document: dict) -> None:
    document["tokenizers"] *= 2


def _damaged_tokenizer(document: dict) -> None:
    document["tokenizers"][0] = '{"model": {}}'


def _other_tokenizer(document: dict) -> None:
    document["tokenizers"].reverse()


def _bidirectional_decoder(document: dict) -> None:
    _stage(document, "asking")["options"]["cell"]["bidirectional"] = True


def _pooled_decoder(document: dict) -> None:
    document["stages"].append({"name": "end", "kind": "last_steps", "inputs": ["scores"], "options": {"steps": 1}})


def _no_attention(document: dict) -> None:
    for name in ("choice", "both"):
        stage = _stage(document, name)
        stage["inputs"] = [value.replace("answer_thinned", "question") for value in stage["inputs"]]


def _tables_as_memory(document: dict) -> None:
    _stage(document, "source_embedding")["options"]["shared"] = True
    _stage(document, "scores")["inputs"][1] = "source_embedding.weight"


def _unknown_attention(document: dict) -> None:
    _stage(document, "answer")["options"]["how"] = "hard"


def _encoder_alone(document: dict) -> None:
    document["stages"] = document["stages"][:3]


@pytest.mark.parametrize(
    "change",
    [
        _drop_tokenizers,
        _three_tokenizers,
        _damaged_tokenizer,
        _other_tokenizer,
        _bidirectional_decoder,
        _pooled_decoder,
        _no_attention,
        _tables_as_memory,
        _unknown_attention,
        _encoder_alone,
    ],
)
def test_model__rejects_hostile_documents(change) -> None:
    module, model = make()
    document = copy.deepcopy(model.document)
    change(document)
    names = {stage["name"] for stage in document["stages"]}
    arrays = {name: array for name, array in module.arrays().items() if name.split(".")[0] in names}
    with pytest.raises(ModelFileError):
        TranslateModel(document, arrays)


@pytest.mark.parametrize("attention", ATTENTION)
def test_padding__is_never_read(attention: str) -> None:
    module, model = make(attention)
    random, lengths = np.random.default_rng(0), np.array([4, 1, 7])
    source, target = random.integers(0, len(SOURCE), (3, 7)), random.integers(0, len(TARGET), (3, 5))
    other = np.where(np.arange(7) < lengths[:, None], source, (source + 1) % len(SOURCE))
    both = [{"source": one, "source_lengths": lengths, "target": target} for one in (source, other)]
    np.testing.assert_array_equal(*(model.run(inputs)["scores"] for inputs in both))
    one, two = (module({name: torch.from_numpy(array) for name, array in inputs.items()}) for inputs in both)
    assert torch.equal(one["scores"], two["scores"])


@pytest.mark.parametrize("attention", ATTENTION)
def test_attention__gradient_matches_differences(attention: str) -> None:
    options = {"how": attention, "units": 3} if attention == "additive" else {"how": attention}
    stage = Stage("answer", "attend", ("q", "k", "v", "lengths"), options)
    lengths = torch.tensor([2, 4])

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *score: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inputs = {"q": q, "k": k, "v": v, "lengths": lengths}
        values = run_stages(torch, [stage], {"answer": dict(zip(["score"], score, strict=False))}, inputs)
        return values["answer"], values["answer.weights"]

    torch.manual_seed(0)
    shapes = [(2, 3, 3), (2, 4, 3), (2, 4, 5), *stage.parameter_shapes().values()]
    assert torch.autograd.gradcheck(attend, [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes])
