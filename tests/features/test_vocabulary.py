"""Names with numbers."""

import pytest

from lstmkit.features import Vocabulary
from lstmkit.spec import DataError, ModelFileError


def test_count__equals_order_by_frequency_then_name() -> None:
    found = Vocabulary.count(["b", "a", "c", "c", "<unk>", "b"], ["<unk>"])
    assert found.names == ("<unk>", "b", "c", "a")
    assert Vocabulary.count("aab", min_count=2).names == ("a",)
    assert Vocabulary.count("aabc", ["x"], size=2).names == ("x", "a")


def test_numbers__roundtrip_and_reject_what_is_unknown() -> None:
    names = Vocabulary(["x", "y"])
    assert [names.names[k] for k in names.numbers(["y", "x", "y"])] == ["y", "x", "y"]
    assert names.numbers(["y", "z"], unknown=0).tolist() == [1, 0]
    assert names.numbers(name for name in "xy").tolist() == [0, 1]
    with pytest.raises(DataError, match="'z' is not known"):
        names.numbers(["z"])


def test_vocabulary__rejects_a_name_that_is_there_twice() -> None:
    with pytest.raises(DataError, match="'a' is there twice"):
        Vocabulary("aba")


@pytest.mark.parametrize("document", [None, [], ["a", 1], ["a", "a"], "ab", {"a": 1}])
def test_document__rejects_what_is_no_list_of_names(document: object) -> None:
    with pytest.raises(ModelFileError, match="vocabulary"):
        Vocabulary.from_list(document)


def test_document__roundtrips() -> None:
    assert Vocabulary.from_list(Vocabulary(["b", "a"]).to_list()).names == ("b", "a")
