"""Words of a running text, with their places in it."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

_LONGEST = 12
# Scripts that write no blanks between words: Thai to Lao, Burmese, Khmer, and Chinese with the Japanese syllables.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_MARKS = re.compile(r"(?!\.\.)[^\w\s]+")
_PIECES = re.compile(r"\w+|[^\w\s]")
_ENDING = re.compile(r"(?i)(.+?)(n['’]t|['’]\w+)$")


# What a word looks like whatever its letters are; the place of a name is its number.
FORMS = ("other", "lower", "Title", "UPPER", "C", "miXed", "digits", "a1", "marks")


class Word(NamedTuple):
    """A word, and where it begins and ends in the text, in characters."""

    text: str
    start: int
    end: int


def split_words(text: str, is_known: Callable[[str], bool] = lambda word: False) -> list[Word]:
    """Cut a text as the texts were cut that are known.

    A word such as ``don't`` or ``e-mail`` that is not known is cut further if its ending (``n't``), or the hyphen, is
    known. Of marks in a row, and where a script has no blanks, the longest known words are taken, or else single
    characters.

    Args:
        text: Any text.
        is_known: Whether the texts that a model has learned from have such a word.

    Example:
        >>> [word.text for word in split_words("She didn't pay $4.50!", {"n't"}.__contains__)]
        ['She', 'did', "n't", 'pay', '$', '4.50', '!']
    """
    words: list[Word] = []
    for match in _word_pattern().finditer(text):
        words += _cut(Word(match[0], match.start(), match.end()), is_known)
    return words


def place_words(words: Sequence[str], text: str | None = None) -> tuple[str, list[Word]]:
    """Words with their places in the text that they come from.

    Args:
        words: In order.
        text: Where they stand; if it is None, or does not hold them all, they are joined by blanks.

    Returns:
        The text and the words.

    Example:
        >>> place_words(["Hi", "!"], "Hi!")
        ('Hi!', [Word(text='Hi', start=0, end=2), Word(text='!', start=2, end=3)])
    """
    where = " ".join(words) if text is None else text
    placed: list[Word] = []
    for word in words:
        start = where.find(word, placed[-1].end if placed else 0)
        if start < 0:
            return place_words(words)
        placed.append(Word(word, start, start + len(word)))
    return where, placed


def word_form(word: str) -> int:
    """Which of :data:`FORMS` a word has: its case, digits or marks; scripts without case are ``other``.

    Example:
        >>> [FORMS[word_form(word)] for word in ("Rome", "NATO", "iPhone", "I", "B2B", "1,000", "!?", "東京")]
        ['Title', 'UPPER', 'miXed', 'C', 'a1', 'digits', 'marks', 'other']
    """
    if not any(character.isalpha() for character in word):
        return FORMS.index("digits" if any(character.isdigit() for character in word) else "marks")
    if any(character.isdigit() for character in word):
        return FORMS.index("a1")
    if word == word.lower():
        return FORMS.index("other" if word == word.upper() else "lower")
    if word == word.upper():
        return FORMS.index("C" if len(word) == 1 else "UPPER")
    return FORMS.index("Title" if word[0].isupper() and word[1:] == word[1:].lower() else "miXed")


@cache
def _word_pattern() -> re.Pattern[str]:
    """Addresses, names and hashtags, numbers with their marks, words with what is inside them, single marks."""
    # For Python a mark that is put on a letter is no part of a word, nor are the joiners between letters.
    marks = "".join(chr(code) for code in range(0x300, 0x1E950) if unicodedata.category(chr(code)).startswith("M"))
    letter = rf"[\w{marks}\u200c\u200d]"
    return re.compile(
        rf"https?://\S+|www\.\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|[@#]\w{letter}*|\d+(?:[.,:/]\d+)+"
        rf"|\w{letter}*(?:['’.-]\w{letter}*)*|\.{{2,}}|[^\w\s]+"
    )


def _cut(word: Word, is_known: Callable[[str], bool]) -> list[Word]:
    if is_known(word.text):
        return [word]
    if _UNSPACED.search(word.text) or _MARKS.fullmatch(word.text):
        return _longest_known(word, is_known)
    ending = _ENDING.match(word.text)
    if ending and is_known(ending[2]):
        border = word.start + ending.end(1)
        return [*_cut(Word(ending[1], word.start, border), is_known), Word(ending[2], border, word.end)]
    if "-" in word.text and is_known("-") and "/" not in word.text and "@" not in word.text:
        return [Word(m[0], word.start + m.start(), word.start + m.end()) for m in _PIECES.finditer(word.text)]
    return [word]


def _longest_known(word: Word, is_known: Callable[[str], bool]) -> list[Word]:
    words: list[Word] = []
    start = 0
    while start < len(word.text):
        ends = range(min(start + _LONGEST, len(word.text)), start, -1)
        end = next((end for end in ends if is_known(word.text[start:end])), start + 1)
        words.append(Word(word.text[start:end], word.start + start, word.start + end))
        start = end
    return words
