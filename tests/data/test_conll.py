"""CoNLL and CoNLL-U: what is read, what is left out, and the line that is at fault."""

from pathlib import Path

import pytest

from lstmkit.data import Sentence, read_conll
from lstmkit.spec import DataError, OptionError

CONLLU = """\
# sent_id = 1
# text = I don't know.
1\tI\tI\tPRON\tPRP\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_
4\tknow\tknow\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No
4.1\tit\tit\tPRON\tPRP\t_\t_\t_\t_\t_
5\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_

# intent = say
1\tNew York\tNew York\tPROPN\tNNP\t_\t0\troot\t_\t_
"""
CONLL2003 = """\
-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

# intent = ask
Who WP I-NP O
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "a.conll") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_conllu__matches_hand(write) -> None:
    first, second = read_conll(write(CONLLU, "a.conllu"), "upos")
    words, tags = ("I", "do", "n't", "know", "."), ("PRON", "AUX", "PART", "VERB", "PUNCT")
    assert first == Sentence(words, tags, None, "I don't know.", 3)
    assert second == Sentence(("New York",), ("PROPN",), "say", None, 12)


@pytest.mark.parametrize(("column", "first"), [("xpos", "PRP"), (4, "PRON"), ("4", "PRON"), ("LEMMA", "I")])
def test_conllu__matches_column(write, column, first: str) -> None:
    assert next(read_conll(write(CONLLU, "a.conllu"), column)).tags[0] == first


def test_conllu__matches_other_ending__by_named_column(write) -> None:
    path = write(CONLLU, "a.txt")
    assert [*read_conll(path, "upos")] == [*read_conll(write(CONLLU, "a.conllu"), "upos")]


@pytest.mark.parametrize(("column", "tags"), [("last", ("I-ORG", "O")), ("ner", ("I-ORG", "O")), (2, ("NNP", "VBZ"))])
def test_conll__matches_hand(write, column, tags) -> None:
    first, second = read_conll(write(CONLL2003), column)
    assert (first.words, first.tags, first.label, first.line) == (("EU", "rejects"), tags, None, 3)
    assert (second.words, second.label, second.line) == (("Who",), "ask", 7)


def test_hash__equals_word(write) -> None:
    tabs = write("# id 5 of = 7\n#\tO\nfun\tB-x\n#x\tO\n\n# label = y\n#\tO\n")
    assert [one.words for one in read_conll(tabs)] == [("#", "fun", "#x"), ("#",)]
    blanks = write("# O\nfun B-x\n#x O\n\n# label = y\n# O\n")
    first, second = read_conll(blanks)
    assert (first.words, first.tags) == (("#", "fun", "#x"), ("O", "B-x", "O"))
    assert (second.words, second.label) == (("#",), "y")


def test_unicode_blanks__equal_parts_of_words(write) -> None:
    assert next(read_conll(write("a\u00a0b\u2028c O\n"))).words == ("a\u00a0b\u2028c",)


@pytest.mark.parametrize("ends", ["\n\n\n", "\r\n \t\r\n\r\n", "\n\n"])
def test_empty_lines__match_one(write, ends: str) -> None:
    assert len([*read_conll(write(f"{ends}a O{ends}b O{ends}"))]) == 2


def test_words_alone__match_one_column(write) -> None:
    path = write("a\nb\n\nc\n")
    assert [one.words for one in read_conll(path, None)] == [("a", "b"), ("c",)]
    assert next(read_conll(path, None)).tags == ()


def test_sentences__match_stream(write) -> None:
    """The first sentence comes before a fault further down is reached."""
    stream = read_conll(write("a O\n\nb\n"))
    assert next(stream).words == ("a",)
    with pytest.raises(DataError, match="line 3"):
        next(stream)


@pytest.mark.parametrize(
    ("text", "name", "column", "message"),
    [
        ("a O\nb O\n\nc\n", "a.conll", "last", "line 4: 1 column, where line 1 has 2"),
        ("a O\nb c d O\n", "a.conll", "last", "line 2: 4 columns, where line 1 has 2"),
        ("a\tO\nb O\n", "a.conll", "last", "line 2: 1 column, where line 1 has 2"),
        ("a\tO\n\tO\n", "a.conll", "last", "line 2: the word is empty"),
        ("a\tO\nb\t\n", "a.conll", "last", "line 2: the tag is empty"),
        ("a\nb\n", "a.conll", "last", "has one column, the words"),
        ("1\ta\tb\n", "a.conllu", "upos", "line 1: 3 columns; CoNLL-U has 10"),
        (CONLLU.replace("5\t.", "x\t."), "a.conllu", "upos", "line 9: expected the number of a word, got 'x'"),
        ("\n\n", "a.conll", "last", "has no words"),
        ("# only = this\n", "a.conll", "last", "has no words"),
        ("", "a.conll", "last", "is empty"),
        (b"\0\1\2\n", "a.conll", "last", "binary"),
        ("é O\n".encode("latin-1"), "a.conll", "last", "not in utf-8"),
    ],
)
def test_bad_file__rejects(write, text, name: str, column: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        [*read_conll(write(text, name), column)]


@pytest.mark.parametrize("column", ["POSTAG", 0, -1, "1.5", "²", True])
def test_column__rejects(write, column) -> None:
    with pytest.raises(OptionError, match="is no column"):
        read_conll(write("a O\n"), column)


def test_column__rejects_beyond_the_last(write) -> None:
    with pytest.raises(OptionError, match="column=3 is beyond the 2 columns"):
        [*read_conll(write("a O\n"), 3)]


def test_encoding__matches_hand(write) -> None:
    assert next(read_conll(write("é O\n".encode("latin-1")), encoding="latin-1")).words == ("é",)
