"""Attributions add up to the logits, and models without token shares are refused."""

import pytest
import torch
from builders import ALL_PARTS, BARE_TOKENIZER, OPERATIONS, TOKENIZER, configs, tiny_config, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import BertConfig, BertForSequenceClassification, FNetConfig, FNetForSequenceClassification
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from wave_hf import WaveModel
from wave_hf.analysis import integrated_gradients, token_shares

additive = configs(pooling=st.just("mean"), pair_encoding=st.just("joint"))
# Logits that hardly differ from those of the mean embeddings leave no digits to measure a gap with.
smooth = configs(scale_waves=st.just(False), update_norm=st.just(False))
texts = st.lists(st.sampled_from(["the", "surf", "bad", ".", "unheard"]), max_size=14).map(" ".join)


@given(config=additive, text=texts)
def test_shares_and_bias_add_up_to_the_logits_of_the_model(config, text):
    model = tiny_model(config)
    analysis = token_shares(model, TOKENIZER, text)
    logits = model(**TOKENIZER(text, return_tensors="pt")).logits[0].detach()
    assert_close(analysis.shares.sum(dim=0) + analysis.bias, logits, atol=1e-5, rtol=1e-5)
    assert_close(analysis.logits, logits)


def test_each_row_of_shares_has_its_token():
    tokens, shares, bias, logits = token_shares(tiny_model(), TOKENIZER, "The surf was longer, unheard")
    assert tokens == ["[CLS]", "the", "surf", "was", "long", "##er", ",", "[UNK]", "[SEP]"]
    assert shares.shape == (9, 3)
    assert bias.shape == logits.shape == (3,)
    assert not any(values.requires_grad for values in (shares, bias, logits))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_equal_tokens_have_equal_shares_unless_neighbours_or_positions_tell_them_apart(operation):
    bag_of_words = tiny_model(wave_operation=operation)
    with_neighbours = tiny_model(wave_operation=operation, local_kernel_size=3)
    for model, is_equal in ((bag_of_words, True), (with_neighbours, False)):
        shares = token_shares(model, TOKENIZER, "not bad, just not long").shares
        assert torch.allclose(shares[1], shares[5]) is is_equal


def test_an_empty_text_is_shared_by_its_special_tokens():
    assert token_shares(tiny_model(), TOKENIZER, "").tokens == ["[CLS]", "[SEP]"]


def test_a_model_that_was_just_trained_drops_nothing():
    model = tiny_model(hidden_dropout_prob=0.5, token_dropout_prob=0.5)
    expected = token_shares(model, TOKENIZER, "the surf")
    assert_close(token_shares(model.train(), TOKENIZER, "the surf").shares, expected.shares)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tiny_model(model_class=WaveModel), "model is a WaveModel, but should be a WaveForSequenceClassification"),
        (tiny_model(pooling="max"), "pooling of the model is 'max', but token shares need 'mean'"),
        (tiny_model(pooling="cls"), "pooling of the model is 'cls', but token shares need 'mean'"),
        (tiny_model(pair_encoding="separate"), "pair_encoding of the model is 'separate', but .* need 'joint'"),
        (tiny_model(vocab_size=14), "the model: the tokenizer has ids up to 14, but the token table has only 14 rows"),
        (tiny_model(max_position_embeddings=3), "max_position_embeddings allows at most 3"),
    ],
)
def test_a_model_without_shares_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        token_shares(model, TOKENIZER, "the surf was not bad")


def test_a_model_of_a_class_that_came_with_its_weights_has_shares(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    copied_class = get_class_from_dynamic_module("modeling_wave.WaveForSequenceClassification", str(tmp_path))
    assert not issubclass(copied_class, type(model))
    copied = copied_class.from_pretrained(tmp_path)
    assert_close(token_shares(copied, TOKENIZER, "the surf").shares, token_shares(model, TOKENIZER, "the surf").shares)


def test_a_text_without_tokens_is_refused():
    for attribute in (token_shares, integrated_gradients):
        with pytest.raises(ValueError, match="text is '': its number of tokens is 0, but should be at least 1"):
            attribute(tiny_model(), BARE_TOKENIZER, "")


class TestIntegratedGradients:
    @pytest.mark.slow
    @settings(max_examples=25)
    @given(config=smooth, label=st.sampled_from([None, 0, 2]))
    def test_sum_is_the_difference_from_a_text_of_mean_embeddings(self, config, label):
        model = tiny_model(config)
        text = "the surf was not bad"
        analysis = integrated_gradients(model, TOKENIZER, text, label)
        logits = model(**TOKENIZER(text, return_tensors="pt")).logits[0]
        embeddings, length = model.get_input_embeddings().weight, len(analysis.tokens)
        baselines = model(inputs_embeds=embeddings.mean(dim=0).expand(1, length, -1)).logits[0]
        assert analysis.label == (logits.argmax() if label is None else label)
        assert analysis.logit == pytest.approx(logits[analysis.label].item(), abs=1e-4)
        assert analysis.baseline == pytest.approx(baselines[analysis.label].item(), abs=1e-4)
        assert analysis.gap < 0.01
        difference = analysis.logit - analysis.baseline
        assert analysis.attributions.sum() == pytest.approx(difference, abs=0.01 * abs(difference) + 1e-5)

    @pytest.mark.parametrize(
        ("model_class", "config_class", "fields"),
        [
            (BertForSequenceClassification, BertConfig, {"num_attention_heads": 2}),
            (FNetForSequenceClassification, FNetConfig, {"type_vocab_size": 2}),
        ],
    )
    def test_other_architectures(self, model_class, config_class, fields):
        torch.manual_seed(0)
        size = {"vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 16, "pad_token_id": 0}
        model = model_class(config_class(**size, **fields, initializer_range=0.5)).eval()
        analysis = integrated_gradients(model, TOKENIZER, "the surf was not bad")
        logits = model(TOKENIZER("the surf was not bad", return_tensors="pt")["input_ids"]).logits[0]
        assert analysis.logit == pytest.approx(logits.max().item(), abs=1e-4)
        assert analysis.gap < 0.01

    def test_text_beyond_the_position_table_is_refused(self):
        size = {"vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = BertForSequenceClassification(BertConfig(**size, max_position_embeddings=4))
        with pytest.raises(ValueError, match="have 7 tokens, but max_position_embeddings allows at most 4"):
            integrated_gradients(model, TOKENIZER, "the surf was not bad")

    def test_linear_model_gives_each_token_its_own_part(self):
        # The real part of an interference is linear, and so is all that follows but the norm, which is taken away.
        model = tiny_model(tiny_config(wave_operation="interference", readout="real"))
        model.wave.norm = torch.nn.Identity()
        analysis = integrated_gradients(model, TOKENIZER, "the surf was not bad", label=1)
        shares = token_shares(model, TOKENIZER, "the surf was not bad").shares[:, 1]
        assert_close(
            analysis.attributions - shares, (analysis.attributions - shares).mean().expand(7), atol=1e-5, rtol=0
        )

    def test_dropout_and_gradients_of_the_weights_are_left_alone(self):
        model = tiny_model(**ALL_PARTS | {"hidden_dropout_prob": 0.5, "token_dropout_prob": 0.5})
        expected = integrated_gradients(model, TOKENIZER, "the surf")
        repeated = integrated_gradients(model.train(), TOKENIZER, "the surf")
        assert_close(repeated.attributions, expected.attributions)
        assert all(parameter.grad is None for parameter in model.parameters())
