"""The loss of distillation."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from wave_hf.modeling_wave import IGNORE_INDEX
from wave_hf.training.distillation import distillation_loss


class TestLoss:
    @given(st.integers(0, 99), st.floats(0.5, 4), st.floats(0, 1))
    def test_is_the_weighted_mean_of_both(self, seed, temperature, weight):
        rng = torch.Generator().manual_seed(seed)
        logits, teacher = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
        labels = torch.randint(3, (5,), generator=rng)
        p, q = (teacher / temperature).softmax(-1), (logits / temperature).softmax(-1)
        soft = temperature**2 * (p * (p / q).log()).sum(-1).mean()
        hard = -logits.softmax(-1)[torch.arange(5), labels].log().mean()
        loss = distillation_loss(logits, teacher, labels, temperature, weight)
        assert_close(loss.double(), weight * hard + (1 - weight) * soft, atol=1e-5, rtol=1e-4)

    def test_rows_without_a_label_have_no_hard_loss(self):
        logits, teacher = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
        none = torch.full((4,), IGNORE_INDEX)
        half = torch.tensor([0, 1, IGNORE_INDEX, IGNORE_INDEX])
        assert distillation_loss(logits, teacher, none, 1.0, 1.0) == 0
        expected = distillation_loss(logits[:2], teacher[:2], half[:2], 1.0, 1.0) / 2
        assert_close(distillation_loss(logits, teacher, half, 1.0, 1.0), expected)
