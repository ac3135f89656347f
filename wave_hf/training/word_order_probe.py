# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""A probe that no bag of words passes: which of two texts with the same words means what a third one means?

Each text consists of two sentences. The anchor has them in one order, the positive in the other, which means the same.
The negative has the words of both but another meaning: two words have changed places across the sentences ("word
order"), or the other sentence is negated ("negation"). A vector that knows only which words occur is the same for all
three texts, so half of its answers are right by chance.
"""

import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np

Triple = tuple[str, str, str]  # anchor, positive, negative

SENTENCE = re.compile(r"[A-Z][^.!?;:\"()]*[a-z]\.")
SENTENCE_WORDS = range(5, 17)
AUXILIARY = re.compile(r"(?<= )(is|are|was|were|will|can|could|would|should|has|had|does|did|must|may) (?=[a-z])")
NEGATION = re.compile(r"\b(not|no|never|none|nor|neither|without|cannot)\b|n't\b", re.IGNORECASE)
EXCHANGED_WORD = re.compile(r"(?<= )[a-z]{5,}(?=[ ,.])")  # long enough to carry meaning; the first word is capitalised
TIE = 1e-6  # smaller differences of cosines are rounding errors


def word_order_triples(texts: Iterable[str]) -> Iterator[Triple]:
    """Make triples whose negatives exchange the longest words of the two sentences, from pairs of single sentences."""
    sentences = (sentence for sentence in single_sentences(texts) if EXCHANGED_WORD.search(sentence))
    for first, second in zip(sentences, sentences, strict=False):
        word, other = (max(EXCHANGED_WORD.findall(sentence), key=len) for sentence in (first, second))
        if word != other:
            exchanged = f"{first.replace(word, other, 1)} {second.replace(other, word, 1)}"
            yield f"{second} {first}", f"{first} {second}", exchanged


def negation_triples(texts: Iterable[str]) -> Iterator[Triple]:
    """Make triples whose negatives negate the other of the two sentences, from pairs of single sentences."""
    statements = (sentence for sentence in single_sentences(texts) if negate(sentence) != sentence)
    for first, second in zip(statements, statements, strict=False):
        yield f"{second} {negate(first)}", f"{negate(first)} {second}", f"{first} {negate(second)}"


def single_sentences(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts that are one sentence of usual length."""
    for text in texts:
        if len(text.split()) in SENTENCE_WORDS and SENTENCE.fullmatch(text):
            yield text


def negate(sentence: str) -> str:
    """Put "not" behind the first auxiliary of a sentence; one without an auxiliary, or with a negation, stays."""
    return sentence if NEGATION.search(sentence) else AUXILIARY.sub(r"\1 not ", sentence, count=1)


def triple_accuracy(encode: Callable[[list[str]], np.ndarray], triples: Iterable[Triple]) -> float:
    """Return how often the anchor is closer to the positive than to the negative, by cosine; a tie counts one half.

    Args:
        encode: Returns the vectors of texts, `(N, D)`.
        triples: Anchors, positives and negatives.
    """
    anchors, positives, negatives = (encode(list(texts)) for texts in zip(*triples, strict=True))
    difference = cosine(anchors, positives) - cosine(anchors, negatives)
    return float(np.where(np.abs(difference) < TIE, 0.5, difference > 0).mean())


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of one array with that of the other, `(N,)`."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)
