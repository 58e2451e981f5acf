"""The numbers that Keras and TensorFlow Lite publish for CTC.

Their beam searches give up paths early, so their best score is a lower bound: of the probability of those labels, and
of the best there are. Their second one bounds the second best alone: TensorFlow Lite's is above what all paths to its
labels add up to. The exact probabilities of the best labels stand beside TensorFlow Lite's.
"""

import numpy as np
import pytest
import torch
from helpers.published import GOLDEN, Case, cases, read

from lstmkit import nn
from lstmkit.features import ctc_beam_search, ctc_greedy

FILE = "ctc/ctc.json"


def time_first(case: Case) -> torch.Tensor:
    batch_first = "logits_BTC" in case
    logits = torch.tensor(case["logits_BTC" if batch_first else "logits_TBC"], dtype=torch.float64)
    return logits.transpose(0, 1) if batch_first else logits


@cases(FILE, lambda case: "expected_nll" in case)
def test_loss__matches_keras(case: Case) -> None:
    counts = torch.tensor(case["label_length"])
    lengths = torch.tensor(case["logit_length"])
    labels = torch.tensor(case["labels"])
    actual = nn.ctc_loss(time_first(case), labels, lengths=lengths, label_lengths=counts, blank=case["blank"])
    torch.testing.assert_close(actual, torch.tensor(case["expected_nll"], dtype=torch.float64), rtol=0, atol=1e-6)


@cases(FILE, lambda case: "expected_merge_repeated" in case)
def test_greedy__matches_keras(case: Case) -> None:
    """Keras's score is that of the raw logits, with the sign turned."""
    logits, lengths = time_first(case).numpy(), case["sequence_lengths"]
    for merge, name in ((True, "expected_merge_repeated"), (False, "expected_no_merge")):
        found = ctc_greedy(logits, lengths, blank=case["blank"], merge_repeated=merge)
        assert [list(row.labels) for row in found] == case[name]
        np.testing.assert_allclose([-row.score for row in found], case["expected_score"], atol=1e-9)


@cases(FILE, lambda case: "expected_paths" in case)
def test_beam_search__matches_published(case: Case) -> None:
    log_probs = time_first(case).log_softmax(2).numpy()
    found = ctc_beam_search(log_probs, case["sequence_lengths"], blank=case["blank"], beam_width=1000, top_paths=1000)
    exact = case.get("exhaustive_log_prob_by_us")
    for row, (paths, scores) in enumerate(zip(case["expected_paths"], case["expected_log_prob"], strict=True)):
        assert dict(found[row])[tuple(paths[0])] >= scores[0] - 1e-5
        for best, score in zip(found[row], scores, strict=False):
            assert best.score >= score - 1e-5
        if exact:
            np.testing.assert_allclose([best.score for best in found[row][: len(paths)]], exact[row], atol=1e-9)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the published vectors are not on this machine")
def test_ctc_cases__equal_count() -> None:
    every = read(FILE)
    kinds = ("expected_nll", "expected_merge_repeated", "expected_paths")
    assert (len(every), [sum(kind in case for case in every) for kind in kinds]) == (7, [1, 1, 5])
