# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""SQuAD: the forms of its files, the answers that a model's logits give, and the metrics of answers."""

import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.special import softmax

Answers = dict[str, list]  # {"text": [...], "answer_start": [...]}: each text, and the index of its first character

ANSWER_FORM = '{"text": ["..."], "answer_start": [0]}'
ROW_FORM = f'{{"id": "...", "question": "...", "context": "...", "answers": {ANSWER_FORM}}}'


# Reading


def flatten_questions(entries: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield one entry for each question, whether the entries are questions already or nested.

    Args:
        entries: Questions; or objects that hold them as `data`; or articles of SQuAD, whose `paragraphs` have a
            `context` and questions, `qas`.

    Raises:
        KeyError: A paragraph has no context or no questions.
        TypeError: An entry is not an object.
        ValueError: The same.
    """
    for entry in entries:
        if "data" in entry:
            yield from flatten_questions(entry["data"])
        elif "paragraphs" in entry:
            for paragraph in entry["paragraphs"]:
                yield from ({**question, "context": paragraph["context"]} for question in paragraph["qas"])
        else:
            yield dict(entry)


def read_answers(answers: Any, context: str, row: str) -> Answers:
    """Return the texts of answers and their places.

    Args:
        answers: Lists of `text` and `answer_start`, or a list with both for each answer; other fields are ignored.
        context: The text that holds the answers.
        row: Name of the row, for the error.

    Raises:
        SystemExit: The answers have another form, or the context has another text at their places.
    """
    try:
        if isinstance(answers, list):
            answers = {name: [answer[name] for answer in answers] for name in ("text", "answer_start")}
        pairs = list(zip(answers["text"], answers["answer_start"], strict=True))
        is_readable = all(isinstance(text, str) and isinstance(place, int) for text, place in pairs)
    except (KeyError, TypeError, ValueError):
        is_readable = False
    if not is_readable:
        raise SystemExit(f"{row} has the answers {str(answers)[:100]}, but they should look like {ANSWER_FORM}")
    for text, place in pairs:
        if not text or place < 0 or context[place : place + len(text)] != text:
            raise SystemExit(f"{row}: the answer {text!r} is not at character {place} of the context")
    return {"text": [text for text, _ in pairs], "answer_start": [place for _, place in pairs]}


# Ranking


@dataclass
class Answer:
    """A span of the context, with its logits as the start and the end of the answer."""

    text: str
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        """The sum of both logits, by which answers are ranked."""
        return self.start_logit + self.end_logit


def rank_answers(
    rows: Dataset, windows: Dataset, logits: np.ndarray, n_best_size: int, max_answer_length: int
) -> list[tuple[list[Answer], float]]:
    """Find the best answers to each question.

    Args:
        rows: Questions and contexts.
        windows: The windows of contexts, with the index of their `row` and the `offsets` of their tokens in the
            context: the first character and the one after the last, or -1 for tokens outside the context.
        logits: Logits of each token as the start and as the end of the answer, `(N, T, 2)`.
        n_best_size: Maximum number of answers to a question.
        max_answer_length: Maximum number of tokens in an answer.

    Returns:
        For each row its answers, the best first, and the score of no answer: the lowest sum of logits that one of its
        windows gives to the first token.
    """
    found: dict[int, list[Answer]] = defaultdict(list)
    no_answer: dict[int, float] = defaultdict(lambda: np.inf)
    for row, offsets, scores in zip(windows["row"], windows["offsets"], logits, strict=True):
        spans = best_spans(scores[: len(offsets)], np.array(offsets), n_best_size, max_answer_length)
        context = rows[row]["context"]
        found[row] += [Answer(context[start:end], *pair) for start, end, pair in spans]
        no_answer[row] = min(no_answer[row], float(scores[0].sum()))
    ranked = [sorted(found[row], key=lambda answer: -answer.score)[:n_best_size] for row in range(len(rows))]
    return [(answers, no_answer[row]) for row, answers in enumerate(ranked)]


def best_spans(
    logits: np.ndarray, offsets: np.ndarray, n_best_size: int, max_answer_length: int
) -> Iterator[tuple[int, int, tuple[float, float]]]:
    """Yield the first character, the one after the last, and both logits of the best spans of a window."""
    starts, ends = np.where(offsets[:, :1] < 0, -np.inf, logits).T
    longest = min(max_answer_length, len(offsets))
    padded = np.pad(ends, (0, longest - 1), constant_values=-np.inf)
    # Row i, column n: the span of n + 1 tokens that starts with token i.
    scores = starts[:, None] + np.lib.stride_tricks.sliding_window_view(padded, longest)
    for place in np.argsort(scores, axis=None)[::-1][:n_best_size]:
        first, more = np.unravel_index(place, scores.shape)
        last = first + more
        if np.isfinite(scores[first, more]):
            yield int(offsets[first, 0]), int(offsets[last, 1]), (float(starts[first]), float(ends[last]))


def with_probabilities(answers: list[Answer]) -> list[dict[str, str | float]]:
    """Return the fields of each answer, and its probability: the softmax of the scores."""
    probabilities = softmax([answer.score for answer in answers]) if answers else []
    return [
        {**vars(answer), "probability": float(probability)}
        for answer, probability in zip(answers, probabilities, strict=True)
    ]


# Scoring


def score_answers(predictions: list[str], references: list[Answers]) -> dict[str, float]:
    """Return SQuAD's metrics in percent: exact matches, and F1 of words, each with the reference that fits best.

    Args:
        predictions: The answer to each question, empty for no answer.
        references: The right answers to each question; without any, no answer is right.
    """
    exact, f1 = [], []
    for prediction, answers in zip(predictions, references, strict=True):
        references_words = [normalized_words(text) for text in answers["text"]] or [[]]
        words = normalized_words(prediction)
        exact.append(max(words == reference for reference in references_words))
        f1.append(max(word_f1(words, reference) for reference in references_words))
    return {"exact_match": 100 * float(np.mean(exact)), "f1": 100 * float(np.mean(f1))}


def normalized_words(text: str) -> list[str]:
    """Return the words of an answer in lower case, without punctuation and articles."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def word_f1(prediction: list[str], reference: list[str]) -> float:
    """Return F1 of the words of two answers; 1 if both are empty."""
    if not prediction or not reference:
        return float(prediction == reference)
    return 2 * (Counter(prediction) & Counter(reference)).total() / (len(prediction) + len(reference))
