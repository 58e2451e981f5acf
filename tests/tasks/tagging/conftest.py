"""One tagger that the tests share."""

import pytest
from helpers.tagged import TINY, draw_sentences

from lstmkit.tasks.tagging import Tagger


@pytest.fixture(scope="session")
def tagger() -> Tagger:
    return Tagger(max_epochs=25, **TINY).fit(draw_sentences(160), validation=draw_sentences(40, seed=1))
