"""Tests of the mathematics of waves: it equals the papers' equations, and stays finite where they divide by zero."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from builders import READOUTS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.testing import assert_close

import wave_hf
from wave_hf import global_magnitude, readout, reference, token2wave, waves

LITERAL_READOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cartesian": lambda wave: torch.cat((wave.real, wave.imag), dim=-1),
    "real": lambda wave: wave.real,
    "magnitude": lambda wave: wave.abs(),
}

all_operations = pytest.mark.parametrize("operation", ["wave_modulation", "wave_interference"])
all_readouts = pytest.mark.parametrize("form", READOUTS)


def tensors(*leading: int, min_tokens: int, elements: st.SearchStrategy[float], dtype: type = np.float64):
    """Draw texts `(*leading, B, T, H)` of at least so many tokens."""
    sides = st.tuples(st.integers(1, 3), st.integers(min_tokens, 6), st.integers(1, 4))
    return arrays(dtype, sides.map(lambda side: (*leading, *side)), elements=elements).map(torch.from_numpy)


# Two tokens of comparable size keep every w^2 away from G^2, where the equations have no gradient.
comparable = st.floats(0.5, 2, width=32) | st.floats(-2, -0.5, width=32)
of_any_size = st.floats(1e-6, 1e4) | st.floats(-1e4, -1e-6)


def value_and_gradients(function, *inputs):
    inputs = [x.clone().requires_grad_() for x in inputs]
    value = function(*inputs)
    weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view_as(value)
    return value.detach(), torch.autograd.grad(value, inputs, weights)


def assert_same_function(function, literal, *inputs):
    expected = value_and_gradients(literal, *inputs)
    assert_close(value_and_gradients(function, *inputs), expected, atol=1e-10, rtol=1e-10)


def combine(operation, form, mask=None):
    """Return the function that a layer applies to its two variants."""
    return lambda first, second: readout(
        getattr(wave_hf, operation)(token2wave(first, mask), token2wave(second, mask)), form
    )


def combine_literally(operation, form):
    """Return the same function by the papers' equations."""
    return lambda first, second: LITERAL_READOUTS[form](
        getattr(reference, operation)(reference.token2wave(first), reference.token2wave(second))
    )


class TestEquations:
    @all_operations
    @all_readouts
    @given(pair=tensors(2, min_tokens=2, elements=comparable))
    def test_values_and_gradients_are_those_of_the_papers(self, operation, form, pair):
        assert_same_function(combine(operation, form), combine_literally(operation, form), *pair)

    @given(texts=tensors(min_tokens=1, elements=of_any_size))
    def test_global_magnitude_is_that_of_the_papers(self, texts):
        assert_same_function(global_magnitude, reference.global_magnitude, texts)

    @all_operations
    @all_readouts
    def test_gradients_are_those_of_finite_differences(self, operation, form):
        torch.manual_seed(0)
        pair = [torch.randn(2, 4, 3, dtype=torch.float64).requires_grad_() for _ in range(2)]
        assert torch.autograd.gradcheck(combine(operation, form), pair)


class TestMask:
    @all_operations
    @given(pair=tensors(2, min_tokens=4, elements=comparable), data=st.data())
    def test_masked_tokens_are_as_good_as_absent(self, operation, pair, data):
        mask = data.draw(arrays(bool, pair.shape[1:3]).map(torch.from_numpy))
        mask[:, -2:] = True
        pair[:, ~mask] = 1e30

        def combine_real_tokens(first, second):
            return combine(operation, "cartesian", mask)(first, second)[mask]

        def combine_texts_one_by_one(first, second):
            literal = combine_literally(operation, "cartesian")
            texts = zip(first, second, mask, strict=True)
            return torch.cat([literal(one[is_real], other[is_real]) for one, other, is_real in texts])

        assert_same_function(combine_real_tokens, combine_texts_one_by_one, *pair)

    def test_masked_tokens_have_no_part_in_the_global_magnitude(self):
        texts = torch.tensor([[[3.0], [7.0], [4.0]]])
        assert global_magnitude(texts, torch.tensor([[1, 0, 1]])).item() == 5

    def test_masked_tokens_have_no_real_part(self):
        real, _ = token2wave(torch.ones(1, 3, 2), torch.tensor([[1, 0, 1]]))
        assert real[0, :, 0].tolist() == [1, 0, 1]


class TestPrecision:
    def test_gradients_that_are_not_numbers_stay_visible(self):
        texts = torch.randn(1, 3, 2).requires_grad_()
        _, imag = token2wave(texts)
        (grad,) = torch.autograd.grad(imag, texts, torch.full_like(imag, torch.nan))
        assert grad.isnan().all()

    @given(texts=tensors(min_tokens=1, elements=of_any_size))
    def test_float32_is_exact_to_1e_5_of_the_global_magnitude(self, texts):
        texts = texts.float()
        wave, magnitude = reference.token2wave(texts.double()), reference.global_magnitude(texts.double())
        # Nearer to w^2 = G^2, G^2 - w^2 cancels: no formula on rounded tokens can do better.
        is_regular = texts.double().square() <= 0.99 * magnitude.square()
        real, imag = token2wave(texts)
        error = (torch.complex(real, imag) - wave).abs() / magnitude
        assert (error[is_regular] <= 1e-5).all()

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_lost_in_the_result_alone(self, dtype):
        # In texts so short G^2 - w^2 cancels much, and with numbers so large G^2 is beyond float16.
        texts = 200 * torch.randn(1, 3, 400, generator=torch.Generator().manual_seed(0)).to(dtype)
        wave = reference.token2wave(texts.double())
        real, imag = token2wave(texts)
        assert real.dtype == imag.dtype == dtype
        assert_close(imag.double(), wave.imag, rtol=torch.finfo(dtype).eps, atol=0)
        magnitude = global_magnitude(texts)
        assert magnitude.dtype == dtype
        assert_close(magnitude.double(), wave.abs()[:, :1], rtol=torch.finfo(dtype).eps, atol=0)

    @given(texts=tensors(min_tokens=1, elements=comparable, dtype=np.float32), exponent=st.integers(-20, 14))
    def test_waves_scale_with_their_tokens(self, texts, exponent):
        # Powers of two are exact, so that any constant in the equations would show.
        scale = 2.0**exponent
        for scaled, part in zip(token2wave(scale * texts), token2wave(texts), strict=True):
            assert torch.equal(scaled, scale * part)


class TestSecondDerivatives:
    @staticmethod
    def of_waves(texts: torch.Tensor) -> torch.Tensor:
        """Return the gradient of a function of the gradient."""
        texts = texts.clone().requires_grad_()
        _, imag = token2wave(texts)
        value = (imag.double().pow(2) + imag.double().pow(3)).sum()
        (gradient,) = torch.autograd.grad(value, texts, create_graph=True)
        return torch.autograd.grad(gradient.double().square().sum(), texts)[0]

    @all_operations
    @all_readouts
    def test_are_those_of_finite_differences(self, operation, form):
        torch.manual_seed(0)
        pair = [torch.randn(2, 4, 3, dtype=torch.float64).requires_grad_() for _ in range(2)]
        assert torch.autograd.gradgradcheck(combine(operation, form), pair)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_in_half_precision_are_those_in_full(self, dtype):
        texts = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
        expected = self.of_waves(texts.double())
        tolerance = 2 * torch.finfo(dtype).eps * expected.abs().max().item()
        assert_close(self.of_waves(texts).double(), expected, rtol=0, atol=tolerance)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_under_autocast_are_those_in_full(self, dtype):
        texts = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
        identity = torch.nn.Linear(5, 5)
        identity.load_state_dict({"weight": torch.eye(5), "bias": torch.zeros(5)})

        def second_derivatives(enabled):
            x = texts.clone().requires_grad_()
            with torch.autocast("cpu", dtype, enabled=enabled):
                _, imag = token2wave(identity(x))
            (gradient,) = torch.autograd.grad(imag.float().pow(3).sum(), x, create_graph=True)
            return torch.autograd.grad(gradient.square().sum(), x)[0]

        expected = second_derivatives(False)
        tolerance = 4 * torch.finfo(dtype).eps * expected.abs().max().item()
        assert_close(second_derivatives(True), expected, rtol=0, atol=tolerance)

    @pytest.mark.parametrize("texts", [torch.zeros(1, 3, 2), torch.ones(1, 1, 2), torch.eye(3)[None]], ids=str)
    def test_are_zero_where_the_first_are(self, texts):
        assert self.of_waves(texts).isfinite().all()
        wave = torch.zeros(2, 1, 1, 4, requires_grad=True)
        (gradient,) = torch.autograd.grad(readout(tuple(wave), "magnitude").sum(), wave, create_graph=True)
        assert (torch.autograd.grad(gradient.sum(), wave)[0] == 0).all()


class TestScaling:
    @given(texts=tensors(min_tokens=1, elements=comparable), data=st.data())
    def test_root_mean_square_of_each_dimension_becomes_1(self, texts, data):
        mask = data.draw(arrays(bool, texts.shape[:2]).map(torch.from_numpy))
        mask[:, -1] = True
        scaled, _ = waves.scale_by_rms(waves.mask_tokens(texts, mask), mask)
        mean_squares = scaled.square().sum(dim=1) / mask.sum(dim=1, keepdim=True)
        assert_close(mean_squares, torch.ones_like(mean_squares))

    @given(texts=tensors(min_tokens=2, elements=comparable))
    def test_part_of_a_text_is_scaled_like_the_whole(self, texts):
        total = texts.square().sum(dim=1, keepdim=True)
        scaled, energy = waves.scale_by_rms(texts[:, :1], None, texts.shape[1], total)
        whole, _ = waves.scale_by_rms(texts)
        assert_close(scaled, whole[:, :1])
        assert_close(energy, whole.square().sum(dim=1, keepdim=True))

    def test_dimension_of_zeros_stays_zero_and_has_finite_gradients(self):
        texts = torch.tensor([[[0.0, 1.0], [0.0, 2.0]]], requires_grad=True)
        scaled, _ = waves.scale_by_rms(texts)
        scaled.sum().backward()
        assert scaled[0, :, 0].tolist() == [0, 0]
        assert texts.grad.isfinite().all()


class TestSingularities:
    @given(texts=tensors(min_tokens=1, elements=of_any_size | st.just(0.0), dtype=np.float64))
    def test_no_text_gives_a_wave_or_gradient_that_is_not_finite(self, texts):
        texts = texts.float()
        waves, (gradients,) = value_and_gradients(lambda x: torch.cat(token2wave(x)), texts)
        assert waves.isfinite().all()
        assert gradients.isfinite().all()

    def test_gradient_is_zero_where_a_token_is_all_its_text_has(self):
        tokens = torch.tensor([[[3.0], [0.0], [0.0]]], requires_grad=True)
        _, imag = token2wave(tokens)
        assert imag.flatten().tolist() == [0, 3, 3]
        imag.sum().backward()
        # Of the first token nothing; of the others, whose imaginary part is G = |w_1|, one each.
        assert tokens.grad.flatten().tolist() == [2, 0, 0]

    def test_gradient_of_a_vanishing_magnitude_is_zero(self):
        wave = torch.zeros(2, 1, 1, 4, requires_grad=True)
        readout(tuple(wave), "magnitude").sum().backward()
        assert (wave.grad == 0).all()


def test_unknown_readout_is_refused():
    with pytest.raises(ValueError, match="form is 'polar', but should be one of cartesian, real, magnitude"):
        readout((torch.ones(1, 1, 1), torch.ones(1, 1, 1)), "polar")
