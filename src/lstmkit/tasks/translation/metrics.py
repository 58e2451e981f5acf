"""Scores of translations: sacreBLEU and chrF, and error rates of sequences of symbols."""

from collections.abc import Sequence
from typing import Any

from lstmkit.spec import DataError, import_extra


def corpus_scores(
    found: Sequence[str], expected: Sequence[str], *, lowercase: bool = False, symbols: bool = False
) -> dict[str, Any]:
    """``bleu`` and ``chrf`` by sacreBLEU, and ``signature``, which says how BLEU was counted.

    Args:
        found: Translations, as plain text.
        expected: One reference for each.
        lowercase: Whether BLEU takes upper and lower case for the same.
        symbols: Whether texts are symbols with spaces between them, which BLEU then counts as they are.

    Units:
        per cent

    Raises:
        DataError: there are none, or not as many as references.
        MissingExtraError: sacrebleu is not installed.

    Source: Papineni et al. (2002); Popović (2015); Post (2018).
    """
    if len(found) != len(expected) or not found:
        raise DataError(
            f"expected as many translations as references and at least one, got {len(found)} and {len(expected)}"
        )
    metrics = import_extra("sacrebleu.metrics", "text")
    bleu, chrf = metrics.BLEU(lowercase=lowercase, tokenize="none" if symbols else None, force=True), metrics.CHRF()
    references = [list(expected)]
    score = bleu.corpus_score(list(found), references).score
    return {
        "bleu": score,
        "chrf": chrf.corpus_score(list(found), references).score,
        "signature": str(bleu.get_signature()),
    }
