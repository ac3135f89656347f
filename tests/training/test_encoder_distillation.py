"""The parts of an encoder's distillation: mixing texts, the first token table and the losses."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

pytest.importorskip("sentence_transformers")

from wave_hf.training.encoder_distillation import LOSSES, mix_in_proportion, select_texts

TEMPERATURE = 0.1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.data())
def test_every_beginning_of_a_mixture_is_a_fair_sample(sizes, data):
    sources = [
        Dataset.from_dict({"text": [f"{source} {row}" for row in range(size)]}) for source, size in enumerate(sizes)
    ]
    mixed = [tuple(map(int, text.split())) for text in mix_in_proportion(sources)["text"]]
    count = data.draw(st.integers(0, len(mixed)))
    for source, size in enumerate(sizes):
        rows = [row for other, row in mixed[:count] if other == source]
        assert rows == list(range(len(rows)))
        assert abs(len(rows) - size * count / len(mixed)) <= len(sizes)


def test_only_rows_with_a_text_are_read():
    rows = Dataset.from_dict({"body": ["a", "", None, "  ", "b"], "id": range(5)})
    assert select_texts("file", rows, "body").to_dict() == {"text": ["a", "b"]}


def unit_vectors(seed, count=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 5, generator=generator, dtype=torch.float64), dim=1)


@pytest.mark.parametrize("name", ["cosine", "mse", "similarity"])
@given(seed=st.integers(0, 2**16))
def test_a_loss_is_zero_where_nothing_is_left_to_learn(name, seed):
    targets = unit_vectors(seed)
    assert_close(LOSSES[name](targets, targets, TEMPERATURE), torch.zeros((), dtype=torch.float64))
    assert LOSSES[name](unit_vectors(seed + 1), targets, TEMPERATURE) > 0


@pytest.mark.parametrize("name", ["cosine", "similarity", "contrastive"])
@given(seed=st.integers(0, 2**16), scale=st.floats(0.01, 100))
def test_only_the_direction_of_a_vector_counts(name, seed, scale):
    vectors, targets = unit_vectors(seed), unit_vectors(seed + 1)
    assert_close(LOSSES[name](scale * vectors, targets, TEMPERATURE), LOSSES[name](vectors, targets, TEMPERATURE))


@given(seed=st.integers(0, 2**16))
def test_the_contrastive_loss_is_the_cross_entropy_of_the_own_target(seed):
    vectors, targets = unit_vectors(seed), unit_vectors(seed + 1)
    odds = np.exp((vectors @ targets.T).numpy() / TEMPERATURE)
    expected = -np.log(np.diag(odds) / odds.sum(axis=1)).mean()
    assert LOSSES["contrastive"](vectors, targets, TEMPERATURE).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_are_finite(name):
    vectors = unit_vectors(0).requires_grad_()
    LOSSES[name](vectors, unit_vectors(1), TEMPERATURE).backward()
    assert vectors.grad.isfinite().all()
    assert vectors.grad.abs().sum() > 0
