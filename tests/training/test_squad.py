"""The spans that scores make, and how answers are scored."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wave_hf.training.squad import rank_answers, score_answers

CONTEXT = "one two three four"
OFFSETS = [(-1, -1), (0, 3), (4, 7), (8, 13), (14, 18)]


def rank(logits, offsets=OFFSETS, row=(0,), **options):
    rows = Dataset.from_dict({"context": [CONTEXT] * (max(row) + 1)})
    windows = Dataset.from_dict({"row": list(row), "offsets": [offsets] * len(row)})
    return rank_answers(rows, windows, np.array(logits), **({"n_best_size": 3, "max_answer_length": 2} | options))


@given(arrays(float, (5, 2), elements=st.floats(-9, 9)))
def test_best_answer_is_that_of_all_spans(logits):
    ((answers, none),) = rank([logits])
    spans = [(start, end) for start in range(1, 5) for end in range(start, min(start + 2, 5))]
    best = max(logits[start, 0] + logits[end, 1] for start, end in spans)
    assert answers[0].score == pytest.approx(best)
    assert answers[0].text in {CONTEXT[OFFSETS[start][0] : OFFSETS[end][1]] for start, end in spans}
    assert none == pytest.approx(logits[0].sum())


def test_windows_of_a_row_compete():
    low, high = np.zeros((5, 2)), np.zeros((5, 2))
    high[3] = 5
    low[0] = 1
    ((answers, none),) = rank([low, high], row=(0, 0))
    assert answers[0].text == "three"
    assert none == 0
    assert len(answers) == 3


def test_a_window_of_no_context_has_no_answer():
    assert rank([np.zeros((2, 2))], offsets=[(-1, -1)] * 2) == [([], 0)]


@pytest.mark.parametrize(
    ("prediction", "golds", "exact_match", "f1"),
    [
        ("The Sea!", ["sea"], 100, 100),
        ("deep sea", ["the sea", "river"], 0, 200 / 3),
        ("river", ["sea"], 0, 0),
        ("", [], 100, 100),
        ("sea", [], 0, 0),
    ],
)
def test_scores_are_those_of_squad(prediction, golds, exact_match, f1):
    scores = score_answers([prediction], [{"text": golds, "answer_start": [0] * len(golds)}])
    assert scores == {"exact_match": exact_match, "f1": pytest.approx(f1)}
