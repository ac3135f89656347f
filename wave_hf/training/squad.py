# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""From the scores of tokens to answers, and how right they are: what `run_qa.py` does after the model."""

import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from scipy.special import softmax

Answers = dict[str, list]  # SQuAD's form: the texts, and as `answer_start` the characters where they start


@dataclass
class Answer:
    """A span of the context that may answer the question, or none (an empty text)."""

    text: str
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        """What answers are compared by."""
        return self.start_logit + self.end_logit


def rank_answers(
    rows: Dataset, windows: Dataset, logits: np.ndarray, n_best_size: int, max_answer_length: int
) -> list[tuple[list[Answer], float]]:
    """Find the best answers of each row.

    Args:
        rows: Questions and contexts.
        windows: The parts of contexts that the model read, with the `row` of each, and where its tokens stand in the
            context, `offsets`: the first character and the one after the last, or -1 for tokens of no context.
        logits: Scores of each window's tokens as the start and as the end, `(N, T, 2)`.
        n_best_size: The most answers a row gets.
        max_answer_length: The most tokens an answer has.

    Returns:
        For each row its answers, the best first, and the score of there being none: the lowest score that one of its
        windows gives to its first token.
    """
    found: dict[int, list[Answer]] = defaultdict(list)
    none: dict[int, float] = defaultdict(lambda: np.inf)
    for row, offsets, scores in zip(windows["row"], windows["offsets"], logits, strict=True):
        spans = best_spans(scores[: len(offsets)], np.array(offsets), n_best_size, max_answer_length)
        context = rows[row]["context"]
        found[row] += [Answer(context[start:end], *pair) for start, end, pair in spans]
        none[row] = min(none[row], float(scores[0].sum()))
    ranked = [sorted(found[row], key=lambda answer: -answer.score)[:n_best_size] for row in range(len(rows))]
    return [(answers, none[row]) for row, answers in enumerate(ranked)]


def best_spans(
    logits: np.ndarray, offsets: np.ndarray, n_best_size: int, max_answer_length: int
) -> Iterable[tuple[int, int, tuple[float, float]]]:
    """Yield the first character, the one after the last, and both scores of a window's best spans."""
    starts, ends = np.where(offsets[:, :1] < 0, -np.inf, logits).T
    padded = np.pad(ends, (0, max_answer_length - 1), constant_values=-np.inf)
    # Row i, column n: the span of n + 1 tokens that starts with token i.
    scores = starts[:, None] + np.lib.stride_tricks.sliding_window_view(padded, max_answer_length)
    for place in np.argsort(scores, axis=None)[::-1][:n_best_size]:
        first, more = np.unravel_index(place, scores.shape)
        last = first + more
        if np.isfinite(scores[first, more]):
            yield int(offsets[first, 0]), int(offsets[last, 1]), (float(starts[first]), float(ends[last]))


def with_probabilities(answers: list[Answer]) -> list[dict[str, str | float]]:
    """Return the answers as they are written to a file."""
    probabilities = softmax([answer.score for answer in answers]) if answers else []
    return [
        {**vars(answer), "probability": float(probability)}
        for answer, probability in zip(answers, probabilities, strict=True)
    ]


def score_answers(predictions: list[str], references: list[Answers]) -> dict[str, float]:
    """Return SQuAD's percentages: exact matches, and F1 of words, with the reference that fits best.

    Args:
        predictions: A text a row, empty for no answer.
        references: The right answers; none if there is none.
    """
    exact, f1 = [], []
    for prediction, answers in zip(predictions, references, strict=True):
        golds = [words(gold) for gold in answers["text"]] or [[]]
        exact.append(max(words(prediction) == gold for gold in golds))
        f1.append(max(word_f1(words(prediction), gold) for gold in golds))
    return {"exact_match": 100 * float(np.mean(exact)), "f1": 100 * float(np.mean(f1))}


def words(text: str) -> list[str]:
    """Return what counts of an answer: its words in lower case, without punctuation and articles."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def word_f1(prediction: list[str], gold: list[str]) -> float:
    """Return F1 of the words of two answers; 1 if both are none."""
    if not prediction or not gold:
        return float(prediction == gold)
    return 2 * (Counter(prediction) & Counter(gold)).total() / (len(prediction) + len(gold))
