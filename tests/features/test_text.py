"""Text to numbers and back at every level."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from lstmkit.features import END, LEVELS, START, UNKNOWN, TextEncoder
from lstmkit.spec import DataError, ModelFileError, OptionError

TEXTS = ["The cat's house, she said: don't!", "a naïve café — 日本語 ok", "U.S. 3.14 <unk> <s> </s>", "The cat sat."]
ENCODERS = {level: TextEncoder.train(TEXTS * 3, level) for level in LEVELS}


@pytest.mark.parametrize("level", LEVELS)
def test_specials__equal_first_three_numbers(level: str) -> None:
    encoder = ENCODERS[level]
    assert [encoder.token(number) for number in (UNKNOWN, START, END)] == ["<unk>", "<s>", "</s>"]
    assert [encoder.find(token) for token in ("<unk>", "<s>", "</s>")] == [UNKNOWN, START, END]


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
def test_encode__never_gives_start_or_end_and_stays_inside_the_text(level: str, text: str) -> None:
    encoded = ENCODERS[level].encode(text + " <s> </s> café")
    assert not {START, END} & set(encoded.numbers)
    assert all(0 <= number < len(ENCODERS[level]) for number in encoded.numbers)
    whole = text + " <s> </s> café"
    assert all(0 <= start <= end <= len(whole) for start, end in encoded.offsets)
    starts = [start for start, _ in encoded.offsets]
    assert starts == sorted(starts)


@pytest.mark.parametrize("level", ["character", "bpe"])
def test_decode__roundtrips_text_of_the_training(level: str) -> None:
    for text in TEXTS:
        assert ENCODERS[level].decode(ENCODERS[level].encode(text).numbers) == text


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_bytes__roundtrip_any_script(text: str) -> None:
    decoded = ENCODERS["bpe"].decode(ENCODERS["bpe"].encode(text).numbers)
    assert decoded in (unicodedata.normalize("NFC", text), unicodedata.normalize("NFC", text).removeprefix(" "))


def test_offsets__match_words_in_the_text_as_given__marks_apart() -> None:
    text = "The cafe\u0301, the\u0301"
    encoded = ENCODERS["word"].encode(text)
    assert [text[start:end] for start, end in encoded.offsets] == ["The", "cafe\u0301", ",", "the\u0301"]
    assert encoded.numbers[1] == ENCODERS["word"].find("café")


def test_unknown__equals_unk_in_text() -> None:
    encoder = ENCODERS["word"]
    assert encoder.encode("<unk> zebra cat's").numbers == [UNKNOWN, UNKNOWN, encoder.find("cat's")]


def test_words__equal_split_at_spaces__without_punctuation_apart() -> None:
    encoder = TextEncoder.train(["the u.s. n't <unk> N"], "word", split_punctuation=False)
    assert encoder.encode("the u.s. n't <unk> N").tokens == ["the", "u.s.", "n't", "<unk>", "N"]


def test_size_and_count__equal_what_was_asked() -> None:
    assert len(TextEncoder.train(["a a a b b c"], "word", 5)) == 5
    assert len(TextEncoder.train(["a a a b b c"], "word", min_count=2)) == 5
    assert len(TextEncoder.train(["a A b"], "word", lowercase=True)) == 5


@pytest.mark.parametrize("level", LEVELS)
def test_json__roundtrips(level: str) -> None:
    again = TextEncoder.from_json(ENCODERS[level].to_json())
    for text in [*TEXTS, "unknown 🙂 <s> cafe\u0301"]:
        assert again.encode(text) == ENCODERS[level].encode(text)
        numbers = again.encode(text).numbers
        assert again.decode(numbers) == ENCODERS[level].decode(numbers)


@pytest.mark.parametrize("document", ["", "{}", "[]", '{"model": 3}', "\0", None, 3])
def test_json__rejects_what_is_no_tokenizer(document: object) -> None:
    with pytest.raises(ModelFileError, match="damaged"):
        TextEncoder.from_json(document)


def test_file__rejects_what_is_no_tokenizer(tmp_path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        TextEncoder.from_file(path)
    path.write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        TextEncoder.from_file(path)


def test_file__preserves_numbers_of_a_foreign_tokenizer_behind_ours(tmp_path) -> None:
    foreign = Tokenizer(models.WordLevel({"[UNK]": 0, "hello": 1}, unk_token="[UNK]"))
    foreign.save(str(tmp_path / "tokenizer.json"))
    encoder = TextEncoder.from_file(tmp_path / "tokenizer.json")
    assert encoder.encode("hello").numbers == [4]
    assert encoder.decode([START, 4, END]) == "hello"
    assert len(encoder) == 5


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((["a"], "letters"), OptionError, "level"),
        ((["a"], "word", 0), OptionError, "size"),
        ((["", "  "], "word"), DataError, "no token"),
        (([], "character"), DataError, "no token"),
    ],
)
def test_train__rejects(arguments: tuple, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        TextEncoder.train(*arguments)
