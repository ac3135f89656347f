"""The probe of word order and negation: what its triples are, and how they are scored."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wave_hf.training.word_order_probe import negate, negation_triples, triple_accuracy, word_order_triples

TEXTS = [
    "A young sailor crossed the channel.",
    "The letter was opened by a servant.",
    "Too short.",
    "The museum is closed on every holiday.",
    "Nobody is sure, but the harbour was not empty.",
    "The engine has needed a new battery.",
    "Is this a question about two sentences?",
    "The garden will be watered tomorrow morning.",
]


@pytest.mark.parametrize("make_triples", [word_order_triples, negation_triples])
def test_the_texts_of_a_triple_differ_but_not_in_their_words(make_triples):
    triples = list(make_triples(TEXTS))
    assert triples
    for triple in triples:
        anchor, positive, negative = (Counter(text.split()) for text in without_full_stops(triple))
        assert anchor == positive == negative
        assert len(set(triple)) == 3


def without_full_stops(triple):
    return (text.replace(".", " ") for text in triple)


def test_the_longest_words_change_places():
    (first, *_) = word_order_triples(TEXTS)
    assert first == (
        "The letter was opened by a servant. A young sailor crossed the channel.",
        "A young sailor crossed the channel. The letter was opened by a servant.",
        "A young sailor servant the channel. The letter was opened by a crossed.",
    )


def test_the_negation_moves_to_the_other_sentence():
    (first, *_) = negation_triples(TEXTS)
    assert first == (
        "The museum is closed on every holiday. The letter was not opened by a servant.",
        "The letter was not opened by a servant. The museum is closed on every holiday.",
        "The letter was opened by a servant. The museum is not closed on every holiday.",
    )


@pytest.mark.parametrize("sentence", ["They never were there at all.", "It isn't what it was.", "Dogs bark at cats."])
def test_what_cannot_be_negated_stays(sentence):
    assert negate(sentence) == sentence


def bag_of_words(texts):
    words = sorted({word for text in texts for word in text.replace(".", " ").split()} | {"A", "The"})
    return np.array([[text.replace(".", " ").split().count(word) for word in words] for text in texts], dtype=float)


@pytest.mark.parametrize("make_triples", [word_order_triples, negation_triples])
def test_a_bag_of_words_is_right_by_chance(make_triples):
    assert triple_accuracy(bag_of_words, make_triples(TEXTS)) == 0.5


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_the_accuracy_is_the_share_of_right_answers(answers):
    right, wrong = ("x", "x", "y"), ("x", "y", "x")
    vectors = {"x": [1.0, 0.0], "y": [0.6, 0.8]}
    triples = [right if answer else wrong for answer in answers]
    accuracy = triple_accuracy(lambda texts: np.array([vectors[text] for text in texts]), triples)
    assert accuracy == pytest.approx(np.mean(answers))
