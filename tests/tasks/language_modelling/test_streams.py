"""Streams against the text that they are cut from."""

import itertools

import numpy as np
import pytest

from lstmkit.spec import DataError
from lstmkit.tasks.language_modelling.streams import Streams


@pytest.mark.parametrize(("count", "streams", "steps"), [(1000, 4, 7), (997, 3, 50), (501, 1, 500), (64, 4, 3)])
def test_pass__matches_the_text(count, streams, steps):
    tokens = np.arange(count)
    cut = Streams.of(tokens, streams, steps)
    length = count // cut.streams
    for epoch in range(5):
        batches = list(cut(epoch))
        assert len(batches) == len(cut)
        assert [batch["first"] for batch in batches] == [True] + [False] * (len(cut) - 1)
        first = batches[0]["tokens"][:, 0]
        assert np.array_equal(first - first[0], np.arange(cut.streams) * length)
        read = np.concatenate([batches[0]["tokens"], *[batch["tokens"][:, 1:] for batch in batches[1:]]], 1)
        assert (np.diff(read, axis=1) == 1).all()
        assert all(
            batch["tokens"][:, 0].tolist() == last["tokens"][:, -1].tolist()
            for last, batch in itertools.pairwise(batches)
        )
        # At most a stretch is left out at either end.
        assert read.shape[1] > length - 2 * cut.steps
        assert read.max() < count


def test_passes__begin_anew_at_other_places():
    cut = Streams.of(np.arange(1000), 4, 50)
    np.random.seed(0)
    starts = {int(next(iter(cut(epoch)))["tokens"][0, 0]) for epoch in range(30)}
    assert len(starts) > 10
    assert max(starts) < 50


@pytest.mark.parametrize("count", [3, 4, 15, 16, 17, 33])
def test_streams__are_fewer_and_shorter__in_a_short_text(count):
    cut = Streams.of(np.arange(count), 32, 64)
    for batch in cut(0):
        assert batch["tokens"].shape[0] == cut.streams
        assert batch["tokens"].shape[1] >= 2


def test_streams__reject_a_text_of_nothing():
    with pytest.raises(DataError, match="a text of 2 tokens is too short"):
        Streams.of(np.arange(2), 3, 5)
