"""The logits of teachers, and the texts that are made for them."""

import numpy as np
import pytest
import torch
from builders import LABELS, TEXTS, save_classifier
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import AutoModelForSequenceClassification

from wave_hf.training.tasks import Task
from wave_hf.training.teachers import Inference, Teacher, mix_texts, reword_texts

TASK = Task("single_label_classification", LABELS)
INFERENCE = Inference(max_length=4, batch_size=2, device=torch.device("cpu"), bf16=False)


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a classifier of random weights."""
    save_classifier(tmp_path / "teacher")
    return str(tmp_path / "teacher")


class TestTeacher:
    def test_logits_are_those_of_the_model_in_the_order_of_the_texts(self, folder):
        teacher = Teacher(folder, TASK, INFERENCE)
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.no_grad():
            expected = [
                model(**teacher.tokenizer(text, truncation=True, max_length=4, return_tensors="pt")).logits[0]
                for text in TEXTS
            ]
        assert_close(torch.from_numpy(teacher.compute_logits(TEXTS)), torch.stack(expected), atol=1e-5, rtol=1e-4)

    def test_columns_are_in_the_order_of_the_task(self, folder):
        reversed_task = Task(TASK.problem_type, TASK.label_names[::-1])
        logits = Teacher(folder, TASK, INFERENCE).compute_logits(TEXTS)
        assert np.array_equal(Teacher(folder, reversed_task, INFERENCE).compute_logits(TEXTS), logits[:, ::-1])

    def test_similar_words_are_whole_words_near_in_the_token_table(self, folder):
        teacher = Teacher(folder, TASK, INFERENCE)
        token = teacher.tokenizer.convert_tokens_to_ids
        with torch.no_grad():
            table = teacher.model.get_input_embeddings().weight
            table[token("ocean")] = 2 * table[token("wave")] + 1e-3
        similar = teacher.similar_words
        assert (similar["ocean"][0], similar["wave"][0]) == ("wave", "ocean")
        assert all(word.isalpha() for words in similar.values() for word in words)
        assert all(word not in words for word, words in similar.items())


class TestMixedTexts:
    @given(st.lists(st.lists(st.sampled_from("abcdefgh")), min_size=1, max_size=5), st.integers(0, 99))
    def test_each_is_two_spans_of_texts(self, texts, seed):
        texts = [" ".join(words) for words in texts]
        for text, mixed in zip(texts, mix_texts(texts, np.random.default_rng(seed)), strict=True):
            words = mixed.split()
            cuts = ((" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(len(words) + 1))
            assert any(first in text and any(second in other for other in texts) for first, second in cuts)

    def test_depend_on_the_generator_alone(self):
        texts = ["one two three four five six", "seven eight nine ten eleven", "twelve"]
        first, again, other = (mix_texts(texts, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first == again != other


class TestRewordedTexts:
    similar = {"one": ["two", "three"], "four": ["five"]}

    @given(st.lists(st.sampled_from(["one", "One", "four,", "(six)", "7"]), max_size=8), st.integers(0, 99))
    def test_words_alone_change_and_to_similar_ones_alone(self, words, seed):
        (reworded,) = reword_texts([" ".join(words)], self.similar, np.random.default_rng(seed))
        choices = {"one": {"one", "two", "three"}, "One": {"One", "two", "three"}, "four,": {"four,", "five,"}}
        for before, after in zip(words, reworded.split(), strict=True):
            assert after in choices.get(before, {before})

    def test_some_words_stay_and_some_change(self):
        (reworded,) = reword_texts(["one four " * 50], self.similar, np.random.default_rng(0))
        assert set(reworded.split()) == {"one", "two", "three", "four", "five"}
