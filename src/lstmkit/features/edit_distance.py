"""How far an answer is from what was expected, in insertions, deletions and substitutions."""

from collections.abc import Hashable, Sequence

import numpy as np

from lstmkit.spec import DataError


def edit_distance(found: Sequence[Hashable], expected: Sequence[Hashable]) -> int:
    """The fewest insertions, deletions and substitutions that make one sequence of the other.

    Source: Levenshtein (1966); Wagner & Fischer (1974).

    Example:
        >>> edit_distance("kitten", "sitting"), edit_distance("a b c".split(), "a c".split())
        (3, 1)
    """
    numbers = {item: number for number, item in enumerate({*found, *expected})}
    columns = np.array([numbers[item] for item in expected], np.int64)
    places = np.arange(len(columns) + 1)
    row = places
    for item in found:
        best = np.concatenate([[row[0] + 1], np.minimum(row[1:] + 1, row[:-1] + (columns != numbers[item]))])
        # An insertion costs 1 a place, so the cheapest chain of them is a running minimum of cost minus place.
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def word_error_rate(found: Sequence[Sequence[Hashable]], expected: Sequence[Sequence[Hashable]]) -> float:
    """The part of the sequences that is not exactly right, as spelling to sound counts it.

    Units:
        per cent

    Raises:
        DataError: there are none, or not as many answers as expected ones.

    Example:
        >>> word_error_rate([["b", "i"], ["t"]], [["b", "i"], ["d"]])
        50.0
    """
    _check(found, expected)
    return 100 * sum(list(one) != list(other) for one, other in zip(found, expected, strict=True)) / len(expected)


def token_error_rate(found: Sequence[Sequence[Hashable]], expected: Sequence[Sequence[Hashable]]) -> float:
    """Edits over the number of tokens expected: the phone error rate, where tokens are phones.

    Units:
        per cent; above 100 where more is wrong than was expected

    Raises:
        DataError: there are none, not as many answers as expected ones, or no token is expected.

    Example:
        >>> token_error_rate([["b", "i"], ["t"]], [["b", "i"], ["d"]])
        33.33...
    """
    _check(found, expected)
    tokens = sum(len(other) for other in expected)
    if not tokens:
        raise DataError("no token is expected in any of the answers, so there is no error rate")
    return 100 * sum(edit_distance(one, other) for one, other in zip(found, expected, strict=True)) / tokens


def _check(found: Sequence[object], expected: Sequence[object]) -> None:
    if len(found) != len(expected) or not expected:
        raise DataError(
            f"expected as many answers as references and at least one, got {len(found)} and {len(expected)}"
        )
