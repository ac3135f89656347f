"""Independence is measured correctly where it is known."""

import math

import pytest
import torch

from wave_hf.analysis import measure_independence


def random_vectors(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_independent_dimensions():
    independence = measure_independence(random_vectors(2000, 50))
    summary = independence.summary()
    assert independence.correlations.shape == (50 * 49 // 2,)
    assert independence.cosines.shape == (2000 * 1999 // 2,)
    assert summary["mean_absolute_correlation"] == pytest.approx(math.sqrt(2 / (math.pi * 2000)), rel=0.1)
    assert summary["mean_absolute_cosine"] == pytest.approx(math.sqrt(2 / (math.pi * 50)), rel=0.1)
    assert 45 < summary["participation_ratio"] < 50


def test_proportional_dimensions():
    independence = measure_independence(random_vectors(20, 1) * torch.tensor([1.0, -2.0, 3.0]))
    assert independence.participation_ratio == pytest.approx(1)
    assert independence.correlations.tolist() == pytest.approx([-1, 1, -1])
    assert independence.summary()["mean_absolute_cosine"] == pytest.approx(1)


def test_participation_ratio_counts_equal_directions():
    axes = torch.eye(6)[:4]
    independence = measure_independence(torch.cat((axes, -axes)))
    assert independence.participation_ratio == pytest.approx(4)
    assert sorted(set(independence.cosines.tolist())) == [-1, 0]


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (4,)])
def test_too_few_vectors_or_dimensions_are_refused(shape):
    with pytest.raises(ValueError, match="but should be at least two by two"):
        measure_independence(torch.ones(shape))
