"""The benchmark of translation reads the data that its goals are stated for."""

import pytest

from benchmarks.translation import DATA, GOALS, read_case
from lstmkit.tasks.translation import Levels

pytestmark = pytest.mark.skipif(
    not (DATA / "g2p").is_dir(), reason="../shared/data/g2p, which is never committed, is not beside the checkout"
)


@pytest.mark.parametrize("case", GOALS)
def test_case__equals_published_sizes(case: str) -> None:
    _, parts = read_case(case)
    sizes = {part: len(pairs.sources) for part, pairs in parts.items()}
    sentences, words = {"train": 29000, "dev": 1014, "test": 1000}, {"train": 8000, "dev": 1000, "test": 1000}
    assert sizes == (sentences if case == "multi30k" else words)
    assert not any(pairs.empty for pairs in parts.values())


@pytest.mark.parametrize("case", ["hun", "kor"])
def test_phones__roundtrip(case: str) -> None:
    _, parts = read_case(case)
    encoders = Levels("letter", "symbol").learn(*parts["train"][:2])
    for text in parts["train"].targets[:500]:
        numbers = encoders.target.encode(text).numbers
        assert len(numbers) == len(text.split(" "))
        assert encoders.target.decode(numbers) == text
