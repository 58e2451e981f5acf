"""Beam search against the enumeration of all answers, over a decoder that is a table of probabilities."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmkit.features import END, START
from lstmkit.runtime.translate_beam import Search, beam_search
from lstmkit.spec import OptionError

V = 5  # unknown, start, end and two tokens that may be written


class TableDecoder:
    """What comes next depends on the sentence and on all that was written, by a random table."""

    def __init__(self, sentences: int, source: int, seed: int) -> None:
        self.seed, self.source = seed, source
        self.rows = np.arange(sentences)
        self.histories: list[list[tuple[int, ...]]] | None = None

    def at(self, sentence: int, history: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([self.seed, sentence, *history])
        scores = 2 * random.normal(size=V)
        scores[:END] = -np.inf
        attention = random.random(self.source)
        return scores - np.log(np.exp(scores).sum()), attention / attention.sum()

    def step(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.histories is None:
            self.histories = [[()] * tokens.shape[1] for _ in tokens]
        for row, beams in enumerate(self.histories):
            self.histories[row] = [(*past, int(token)) for past, token in zip(beams, tokens[row], strict=True)]
        found = [[self.at(s, past) for past in beams] for s, beams in zip(self.rows, self.histories, strict=True)]
        shape = tokens.shape
        log_probs = np.array([[one[0] for one in beams] for beams in found]).reshape(*shape, V)
        return log_probs, np.array([[one[1] for one in beams] for beams in found]).reshape(*shape, self.source)

    def keep(self, rows: np.ndarray, beams: np.ndarray) -> None:
        assert self.histories is not None
        self.histories = [[self.histories[r][b] for b in bs] for r, bs in zip(rows, beams, strict=True)]
        self.rows = self.rows[rows]


class Narrow(TableDecoder):
    """Its source is shorter than the random numbers for it."""

    width: int

    def step(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_probs, attention = super().step(tokens)
        return log_probs, attention[:, :, : self.width]


def enumerate_answers(sentence: int, limit: int, length: int, source: int, seed: int, search: Search):
    """Every answer that ends within the limit, best first."""
    table, answers = TableDecoder(1, source, seed), []
    for count in range(limit):
        for numbers in product(range(END + 1, V), repeat=count):
            log_probability, read = 0.0, np.zeros(source)
            for place, token in enumerate((*numbers, END)):
                log_probs, attention = table.at(sentence, (START, *numbers[:place]))
                log_probability, read = log_probability + log_probs[token], read + attention
            score = log_probability / ((5 + count + 1) / 6) ** search.length_penalty
            score += search.coverage_penalty * np.log(np.minimum(read[:length], 1)).sum()
            answers.append((score, log_probability, list(numbers)))
    return sorted(answers, reverse=True)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    length_penalty=st.sampled_from([0.0, 0.6, 1.0]),
    coverage_penalty=st.sampled_from([0.0, 0.3]),
)
def test_wide_beam__matches_enumeration(seed: int, length_penalty: float, coverage_penalty: float) -> None:
    search = Search(beam=40, n_best=3, length_penalty=length_penalty, coverage_penalty=coverage_penalty)
    limits, lengths = [4, 1, 3], [3, 1, 2]
    found = beam_search(TableDecoder(3, 3, seed), lengths, limits, search)
    for sentence, (limit, length) in enumerate(zip(limits, lengths, strict=True)):
        expected = enumerate_answers(sentence, limit, length, 3, seed, search)[:3]
        best = [one for one in found[sentence] if len(one.attention) == len(one.numbers) + 1]
        assert [one.numbers for one in best][: len(expected)] == [numbers for _, _, numbers in expected]
        for one, (score, log_probability, numbers) in zip(best, expected, strict=False):
            assert one.score == pytest.approx(score, abs=1e-9)
            assert one.log_probability == pytest.approx(log_probability, abs=1e-9)
            assert one.attention.shape == (len(numbers) + 1, length)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_beam_of_one__matches_greedy_steps(seed: int) -> None:
    (found,), numbers = beam_search(TableDecoder(1, 2, seed), [2], [6], Search(beam=1)), []
    table = TableDecoder(1, 2, seed)
    while len(numbers) < 6:
        token = int(table.at(0, (START, *numbers))[0].argmax())
        if token == END:
            break
        numbers.append(token)
    assert found[0].numbers == numbers


@given(seed=st.integers(0, 10**6), beam=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_batch__matches_each_sentence_alone(seed: int, beam: int) -> None:
    limits, lengths, search = [5, 2, 7, 4], [2, 4, 3, 1], Search(beam=beam, n_best=beam, coverage_penalty=0.2)
    together = beam_search(TableDecoder(4, 4, seed), lengths, limits, search)
    for sentence in range(4):
        decoder = Narrow(1, 4, seed)
        decoder.rows, decoder.width = np.array([sentence]), lengths[sentence]
        (alone,) = beam_search(decoder, [lengths[sentence]], [limits[sentence]], search)
        assert [one.numbers for one in together[sentence]] == [one.numbers for one in alone]
        np.testing.assert_allclose([one.score for one in together[sentence]], [one.score for one in alone])
        for one, other in zip(together[sentence], alone, strict=True):
            np.testing.assert_allclose(one.attention, other.attention, atol=1e-7)
        assert together[sentence] == sorted(together[sentence], key=lambda one: -one.score)
        assert all(len(one.numbers) <= limits[sentence] for one in together[sentence])


class Endless(TableDecoder):
    """Never wants to end."""

    def at(self, sentence: int, history: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        log_probs, attention = super().at(sentence, history)
        log_probs[END] = -np.inf
        return log_probs, attention


def test_answer__is_cut_at_the_limit__where_none_ends() -> None:
    ((one, two),) = beam_search(Endless(1, 2, 0), [2], [5], Search(beam=2, n_best=2))
    assert len(one.numbers) == len(one.attention) == len(two.numbers) == 5
    assert one.score >= two.score


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 0},
        {"beam": True},
        {"beam": 2.0},
        {"beam": 10**6},
        {"n_best": 0},
        {"beam": 2, "n_best": 3},
        {"length_penalty": -1},
        {"length_penalty": float("nan")},
        {"coverage_penalty": "a"},
    ],
)
def test_search__rejects_what_cannot_be(options: dict) -> None:
    with pytest.raises(OptionError, match=next(reversed(options))):
        Search(**options)
