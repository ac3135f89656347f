"""Tests that logits depend only on the real tokens of a text, and are finite and accurate in every precision."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from builders import (
    ALL_PARTS,
    HEADS,
    OPERATIONS,
    POOLINGS,
    SAME,
    configs,
    random_ids,
    scores,
    tiny_model,
    training_inputs,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.testing import assert_close

from wave_hf import (
    WaveModel,
)
from wave_hf.modeling_wave import WaveTextHead


def assert_trains(model, **inputs):
    """Assert that the loss, and its gradients with respect to the parameters, are finite."""
    loss = model(**training_inputs(model, **inputs)).loss
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def of_tokens(result, is_real):
    """Return the logits of one text, or of its real tokens."""
    return result[is_real] if result.dim() == 2 else result


class TestPadding:
    # Of each text, the number of tokens and of padding to their left.
    @pytest.mark.slow
    @given(
        head=st.sampled_from(HEADS),
        config=configs(),
        texts=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), min_size=1, max_size=3),
    )
    @settings(max_examples=200)
    def test_text_gives_the_same_logits_alone_as_padded_in_a_batch(self, head, config, texts):
        model = tiny_model(config, head)
        length = max(sum(text) for text in texts) + 1
        input_ids, token_type_ids = random_ids(len(texts), length), random_ids(len(texts), length, seed=1) % 2
        mask = torch.zeros_like(input_ids)
        for row, (tokens, left) in zip(mask, texts, strict=True):
            row[left : left + tokens] = 1
        batched = scores(model, input_ids=input_ids, attention_mask=mask, token_type_ids=token_type_ids)
        for result, ids, is_real, types in zip(batched, input_ids, mask == 1, token_type_ids, strict=True):
            alone = scores(model, input_ids=ids[None, is_real], token_type_ids=types[None, is_real])
            assert_close(of_tokens(result, is_real), alone[0], **SAME)

    @pytest.mark.slow
    @given(
        head=st.sampled_from(HEADS),
        config=configs(),
        junk=st.sampled_from([1e30, torch.inf, -torch.inf, torch.nan]),
    )
    @settings(max_examples=100)
    def test_no_embedding_under_the_mask_matters(self, head, config, junk):
        model = tiny_model(config, head)
        mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]])
        input_ids = random_ids(2, 5)
        inputs_embeds = model.get_input_embeddings()(input_ids).detach()
        inputs_embeds[mask == 0] = junk
        results = scores(model, inputs_embeds=inputs_embeds, attention_mask=mask)
        expected = scores(model, input_ids=input_ids, attention_mask=mask)
        for result, other, is_real in zip(results, expected, mask == 1, strict=True):
            assert_close(of_tokens(result, is_real), of_tokens(other, is_real), **SAME)
        assert_trains(model, inputs_embeds=inputs_embeds, attention_mask=mask)

    @pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float])
    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("head", HEADS)
    def test_no_mask_means_that_all_tokens_are_real(self, head, pooling, dtype):
        model = tiny_model(**ALL_PARTS, pooling=pooling, model_class=head)
        input_ids = random_ids(2, 6)
        expected = scores(model, input_ids=input_ids, attention_mask=torch.ones(2, 6, dtype=dtype))
        assert_close(scores(model, input_ids=input_ids), expected, **SAME)

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_pooling_reads_the_real_tokens(self, pooling, mask):
        model = tiny_model(model_class=WaveModel, pooling=pooling)
        output = model(random_ids(2, 6), mask)
        texts = [hidden[is_real] for hidden, is_real in zip(output.last_hidden_state, mask == 1, strict=True)]
        pool = {
            "mean": lambda text: text.mean(dim=0),
            "max": lambda text: text.amax(dim=0),
            "cls": lambda text: text[0],
        }
        assert_close(output.pooler_output, torch.stack([pool[pooling](text) for text in texts]))

    @pytest.mark.slow
    @given(head=st.sampled_from(HEADS), config=configs())
    @settings(max_examples=100)
    def test_text_without_real_tokens_pools_to_zeros(self, head, config):
        model = tiny_model(config, head)
        input_ids, mask = random_ids(2, 4), torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])
        assert (model.wave(input_ids, mask).pooler_output[1] == 0).all()
        alone = scores(model, input_ids=input_ids[:1])
        assert_close(scores(model, input_ids=input_ids, attention_mask=mask)[:1], alone, **SAME)
        assert_trains(model, input_ids=input_ids, attention_mask=mask)


class TestPrecision:
    """Texts that make the equations divide by zero, or nearly; in fresh networks, as biases would hide the zeros."""

    # Applied to random texts (B, T, H).
    TEXTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "any": lambda tokens: tokens,
        "one token": lambda tokens: tokens[:, :1],
        "one token repeated": lambda tokens: tokens[:, :1].expand_as(tokens),
        "a dimension of zeros": lambda tokens: tokens * (torch.arange(tokens.shape[2]) > 0),
        "a token of zeros": lambda tokens: tokens * (torch.arange(tokens.shape[1]) > 0).unsqueeze(-1),
        "nothing but zeros": torch.zeros_like,
    }
    no_table = configs(embedding_size=st.none())
    masks = arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 6)), elements=st.integers(0, 1))
    scales = st.sampled_from([1e-6, 1.0, 1e4]) | st.floats(1e-6, 1e4)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("dtype", "autocast"), [(torch.float32, False), (torch.bfloat16, False), (torch.float32, True)]
    )
    @given(head=st.sampled_from(HEADS), config=no_table, text=st.sampled_from(list(TEXTS)), mask=masks, scale=scales)
    @settings(max_examples=200)
    def test_losses_and_gradients_are_finite(self, dtype, autocast, head, config, text, mask, scale):
        self.assert_text_trains(head, config, text, mask, scale, dtype, autocast)

    # At a token of zeros, float16 cannot hold the slopes of two norms in a row unless epsilon is larger.
    @pytest.mark.slow
    @given(
        head=st.sampled_from(HEADS),
        config=st.one_of(
            configs(embedding_size=st.none(), update_norm=st.just(False)),
            configs(embedding_size=st.none(), update_norm=st.just(True), layer_norm_eps=st.just(1e-3)),
        ),
        text=st.sampled_from(list(TEXTS)),
        mask=masks,
    )
    @settings(max_examples=200)
    def test_losses_and_gradients_are_finite_in_float16(self, head, config, text, mask):
        self.assert_text_trains(head, config, text, mask, 1.0, torch.float16)

    def assert_text_trains(self, head, config, text, mask, scale, dtype, autocast=False):
        torch.manual_seed(0)
        model = head(config).to(dtype)
        tokens = self.TEXTS[text](torch.randn(*mask.shape, config.hidden_size))
        inputs_embeds = (scale * tokens).to(dtype).requires_grad_()
        attention_mask = torch.from_numpy(mask)[:, : tokens.shape[1]]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert_trains(model, inputs_embeds=inputs_embeds, attention_mask=attention_mask)
        assert inputs_embeds.grad.isfinite().all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_long_text_gives_finite_losses_and_gradients(self, operation, dtype):
        model = tiny_model(wave_operation=operation, local_kernel_size=3).to(dtype)
        assert_trains(model, input_ids=random_ids(1, 20_000))

    # The sums over so many tokens are beyond float16, and so is the number 70,000. Their mean is not.
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("length", [40_000, 70_000])
    @pytest.mark.parametrize(
        "fields",
        [*({"pooling": pooling} for pooling in POOLINGS), {"final_norm": "pooled"}, {"scale_waves": True}],
        ids=str,
    )
    def test_half_precision_gives_nearly_the_same_logits_of_long_texts(self, fields, length, dtype):
        model, input_ids = tiny_model(wave_operation="interference", **fields), random_ids(1, length)
        with torch.no_grad():
            expected = scores(model, input_ids=input_ids)
            logits = scores(model.to(dtype), input_ids=input_ids)
        for half in (logits, model.classify_stream([input_ids]).logits):
            assert_close(half.float(), expected, rtol=0, atol=2e-2 * expected.abs().max().item())

    @pytest.mark.slow
    @pytest.mark.parametrize("autocast", [False, True])
    @given(
        head=st.sampled_from(HEADS),
        config=configs(
            hidden_size=st.just(64),
            initializer_range=st.just(0.05),
            num_hidden_layers=st.just(1),
            # Both amplify what bfloat16 rounds: all scaled waves have one magnitude, in which tokens differ little.
            scale_waves=st.just(False),
            update_norm=st.just(False),
        ),
    )
    @settings(max_examples=100)
    def test_bfloat16_gives_nearly_the_same_logits(self, autocast, head, config):
        torch.manual_seed(0)
        model = head(config).eval()
        input_ids = random_ids(4, 12)
        expected = scores(model, input_ids=input_ids)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = scores(model if autocast else model.to(torch.bfloat16), input_ids=input_ids)
        # The logits of texts are more accurate: the errors of their tokens cancel in the mean.
        assert_close(logits.float(), expected, atol=3e-2 if issubclass(head, WaveTextHead) else 5e-2, rtol=0)
