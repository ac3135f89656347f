"""Tests of the oracle: that it states the equations of the papers."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch.testing import assert_close

from wave_hf import reference

# Texts (T, H) and pairs of texts (2, T, H) in which no dimension is zero throughout.
numbers = st.floats(0.01, 100) | st.floats(-100, -0.01)
texts = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=numbers).map(torch.from_numpy)
pairs = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=5).map(lambda s: (2, *s)), elements=numbers)
pairs = pairs.map(torch.from_numpy)


@given(texts)
def test_global_magnitude_is_the_length_of_each_dimension(text):
    expected = [[math.hypot(*dimension) for dimension in text.T.tolist()]]
    assert_close(reference.global_magnitude(text), torch.tensor(expected, dtype=torch.float64))


@given(texts)
def test_all_tokens_share_the_global_magnitude(text):
    assert_close(reference.token2wave(text).abs(), reference.global_magnitude(text).expand_as(text))


@given(texts)
def test_real_part_of_a_wave_is_its_token(text):
    assert_close(reference.token2wave(text).real, text)


@given(texts)
def test_phase_lies_between_0_and_pi(text):
    phase = reference.phase(text)
    assert ((phase >= 0) & (phase <= math.pi)).all()
    assert_close(torch.cos(phase) * reference.global_magnitude(text), text)


@given(pairs)
def test_energy_of_interference_depends_on_the_difference_of_phases(pair):
    first, second = pair
    energy = reference.wave_interference(*reference.token2wave(pair)).abs().square()
    g, other_g = reference.global_magnitude(first), reference.global_magnitude(second)
    cosine = torch.cos(reference.phase(first) - reference.phase(second))
    # Waves of opposite phase cancel: what is left is as exact as the waves, not as itself.
    tolerance = 1e-12 * (g + other_g).square().max().item()
    assert_close(energy, g.square() + other_g.square() + 2 * g * other_g * cosine, atol=tolerance, rtol=0)


@given(pairs)
def test_modulation_multiplies_magnitudes_and_adds_phases(pair):
    first, second = pair
    wave = reference.wave_modulation(*reference.token2wave(pair))
    magnitude = reference.global_magnitude(first) * reference.global_magnitude(second)
    phase = reference.phase(first) + reference.phase(second)
    assert_close(wave, torch.polar(magnitude.expand_as(phase), phase))
