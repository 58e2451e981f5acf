"""Tags as CoNLL-U: other columns, comments and words without tags come back as they were."""

from pathlib import Path

import pytest

from lstmkit.data import read_conll
from lstmkit.features import place_words, split_words
from lstmkit.runtime import Tagged
from lstmkit.tasks.tagging.conllu import conllu_lines, retag_lines, tag_column

GIVEN = """\
# newdoc
# sent_id = a
# text = I don't know.
1\tI\tI\tPRON\tPRP\tCase=Nom\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_
4\tknow\tknow\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No
4.1\tit\tit\tPRON\tPRP\t_\t_\t_\t_\t_
# a comment inside
5\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_

# only a comment


# intent = say
# label = old
1\tNew York\tNew York\tPROPN\tNNP\t_\t0\troot\t_\t_
"""
TAGS = [("A", "B", "C", "D", "E"), ("F",)]


def tagged(path: Path, label: str | None = None) -> list[Tagged]:
    sentences = [*read_conll(path, None, conllu=True)]
    placed = [place_words(sentence.words, sentence.text) for sentence in sentences]
    return [Tagged(text, tuple(words), tags, label) for (text, words), tags in zip(placed, TAGS, strict=True)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "given.conllu"
    path.write_text(GIVEN)
    return path


@pytest.mark.parametrize("column", [4, 5, 10])
def test_retagged__preserve_all_but_the_tags(path: Path, column: int) -> None:
    lines = [*retag_lines(GIVEN.splitlines(), tagged(path), column)]
    expected = [*GIVEN.replace("\n\n\n", "\n\n").splitlines(), ""]
    tags = iter("ABCDEF")
    for place, line in enumerate(expected):
        fields = line.split("\t")
        if fields[0].isdigit():
            fields[column - 1] = next(tags)
            expected[place] = "\t".join(fields)
    assert lines == expected


def test_retagged__roundtrip(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.conllu"
    again.write_text("\n".join(retag_lines(GIVEN.splitlines(), tagged(path), 4)) + "\n")
    assert [sentence.tags for sentence in read_conll(again, "upos")] == TAGS
    assert [*read_conll(again, "xpos")] == [
        sentence.__class__(**{**vars(sentence), "line": found.line})
        for sentence, found in zip(read_conll(path, "xpos"), read_conll(again, "xpos"), strict=True)
    ]


def test_retagged__equal_the_new_label(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.conllu"
    again.write_text("\n".join(retag_lines(GIVEN.splitlines(), tagged(path, "ask"), 4)) + "\n")
    assert [sentence.label for sentence in read_conll(again, "upos")] == ["ask", "ask"]
    assert "say" not in again.read_text()
    assert again.read_text().splitlines()[:4][-1] == "# intent = ask"


def test_new_lines__match_hand() -> None:
    text = "She didn't,\tok"
    words = split_words(text, {"n't"}.__contains__)
    sentences = [Tagged(text, tuple(words), ("A", "B", "C", "D", "E"), "say"), Tagged("", (), ()), *tagged_words()]
    assert [*conllu_lines(sentences, 4)] == [
        "# sent_id = 1",
        "# text = She didn't, ok",
        "# intent = say",
        "1\tShe\t_\tA\t_\t_\t_\t_\t_\t_",
        "2\tdid\t_\tB\t_\t_\t_\t_\t_\tSpaceAfter=No",
        "3\tn't\t_\tC\t_\t_\t_\t_\t_\tSpaceAfter=No",
        "4\t,\t_\tD\t_\t_\t_\t_\t_\t_",
        "5\tok\t_\tE\t_\t_\t_\t_\t_\t_",
        "",
        "# sent_id = 2",
        "# text = New York",
        "1\tNew York\t_\tF\t_\t_\t_\t_\t_\t_",
        "",
    ]


def tagged_words() -> list[Tagged]:
    text, words = place_words(["New York"])
    return [Tagged(text, tuple(words), ("F",))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("upos", 4), ("XPOS", 5), ("feats", 6), ("last", 10), ("ner", 10), (3, 3), (2, 10), ("form", 10), (12, 10)],
)
def test_tag_column__never_overwrites_words(given: str | int, expected: int) -> None:
    assert tag_column(given) == expected
