"""Tests of the shares of tokens: they add up to what the model says, and only models that have them get any."""

import pytest
import torch
from builders import OPERATIONS, configs, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.testing import assert_close
from transformers import BertTokenizer, PreTrainedTokenizerFast

from wave_hf import WaveModel
from wave_hf.analysis import token_shares

WORDS = ["the", "surf", "was", "not", "bad", "just", "long", "##er", ",", "."]
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENIZER = BertTokenizer(vocab={token: i for i, token in enumerate(SPECIAL_TOKENS + WORDS)})

additive = configs(pooling=st.just("mean"), pair_encoding=st.just("joint"))
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
        (tiny_model(pooling="max"), "pooling of the model is 'max', but only with 'mean'"),
        (tiny_model(pooling="cls"), "pooling of the model is 'cls', but only with 'mean'"),
        (tiny_model(pair_encoding="separate"), "pair_encoding of the model is 'separate', but only with 'joint'"),
        (tiny_model(vocab_size=14), "tokenizer has 15 tokens, but the token table of the model only 14 rows"),
        (tiny_model(max_position_embeddings=3), "max_position_embeddings allows at most 3"),
    ],
)
def test_a_model_without_shares_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        token_shares(model, TOKENIZER, "the surf was not bad")


def test_a_text_without_tokens_is_refused():
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]")))
    with pytest.raises(ValueError, match="text is '', of which the tokenizer makes no token"):
        token_shares(tiny_model(), bare, "")
