"""Tests of attention masks: what is no mask `(B, T)` of ones and zeros is refused, and never read as another mask."""

import pytest
import torch
from builders import HEADS, head_inputs, random_ids, tiny_model

from wave_hf import WaveModel, global_magnitude, token2wave

# Masks of two texts of four tokens, the second of which is padded by two.
KEPT = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
ADDITIVE = torch.zeros(2, 4).masked_fill(KEPT == 0, float("-inf"))


@pytest.mark.parametrize("model_class", [WaveModel, *HEADS])
class TestShape:
    @pytest.mark.parametrize(
        "shape",
        [(2, 1), (1, 4), (2, 5), (2, 4, 4), (2, 1, 4), (2, 1, 4, 4)],
        ids=lambda shape: "x".join(map(str, shape)),
    )
    @pytest.mark.parametrize("pair_encoding", ["joint", "separate"])
    def test_other_than_that_of_the_tokens_is_refused(self, model_class, shape, pair_encoding):
        model = tiny_model(model_class=model_class, pair_encoding=pair_encoding)
        inputs = head_inputs(model, input_ids=random_ids(2, 4), attention_mask=torch.ones(shape, dtype=torch.long))
        with pytest.raises(ValueError, match=r"^attention_mask has the shape .*, but should have \(2, 4\)\.$"):
            model(**inputs)


@pytest.mark.parametrize("model_class", [WaveModel, *HEADS])
class TestValues:
    @pytest.mark.parametrize(
        "mask",
        [
            ADDITIVE,
            ADDITIVE.nan_to_num(neginf=-1e4),
            ADDITIVE.half(),
            KEPT - 1,
            torch.where(KEPT == 1, 1.0, torch.nan),
        ],
        ids=["minus infinity", "-10000", "float16", "integers", "NaN"],
    )
    @pytest.mark.parametrize("pair_encoding", ["joint", "separate"])
    def test_below_zero_are_refused(self, model_class, mask, pair_encoding):
        model = tiny_model(model_class=model_class, pair_encoding=pair_encoding)
        inputs = head_inputs(model, input_ids=random_ids(2, 4), attention_mask=mask)
        with pytest.raises(ValueError, match=r"^attention_mask has values below 0, but should be 1 for real tokens"):
            model(**inputs)

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float16, torch.float64])
    def test_of_ones_and_zeros_mean_the_same_in_every_dtype(self, model_class, dtype):
        model = tiny_model(model_class=model_class)
        masks = KEPT, KEPT.to(dtype)
        expected, outputs = (
            model(**head_inputs(model, input_ids=random_ids(2, 4), attention_mask=mask)) for mask in masks
        )
        assert torch.equal(outputs[0], expected[0])


@pytest.mark.parametrize("function", [global_magnitude, token2wave])
@pytest.mark.parametrize("mask", [torch.ones(2, 1), torch.ones(2, 4, 1), torch.ones(4), ADDITIVE], ids=str)
def test_functions_of_waves_refuse_them_too(function, mask):
    with pytest.raises(ValueError, match=r"^attention_mask has"):
        function(torch.ones(2, 4, 3), mask)
