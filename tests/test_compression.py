"""Compressed token tables: what stays the same, and what is lost."""

import copy
from functools import cache

import pytest
import torch
from builders import ALL_PARTS, SAME, tiny_model
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer

from wave_hf import WaveForMaskedLM, WaveForSequenceClassification, train_tokenizer
from wave_hf.compression import factorize_embeddings, prune_vocabulary

TEXTS = ["one wave and two waves", "an ocean of waves", "one ocean, two oceans"] * 2


@cache
def classifier():
    tokenizer = train_tokenizer(TEXTS)
    return tiny_model(vocab_size=len(tokenizer)), tokenizer


@cache
def pruned_classifier(text, more_tokens):
    model, tokenizer = classifier()
    return prune_vocabulary(model, tokenizer, [text], smallest_size(tokenizer) + more_tokens)


def smallest_size(tokenizer):
    return sum(len(token.removeprefix("##")) == 1 or token.startswith("[") for token in tokenizer.get_vocab())


def logits(model, tokenizer, text):
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits


class TestPruneVocabulary:
    @given(text=st.lists(st.sampled_from(["one", "wave", "two", "a", "w", "an", ",", "[MASK]"])).map(" ".join))
    def test_texts_of_kept_tokens_keep_their_logits_exactly(self, text):
        model, tokenizer = classifier()
        pruned, pruned_tokenizer = pruned_classifier("one wave two an", more_tokens=4)
        assert pruned_tokenizer.tokenize(text) == tokenizer.tokenize(text)
        assert torch.equal(logits(pruned, pruned_tokenizer, text), logits(model, tokenizer, text))

    @given(text=st.text())
    def test_any_text_is_read(self, text):
        _, tokenizer = classifier()
        pruned, pruned_tokenizer = pruned_classifier("", more_tokens=0)
        assert logits(pruned, pruned_tokenizer, text).isfinite().all()
        # Only what was unknown before is unknown now.
        assert ("[UNK]" in pruned_tokenizer.tokenize(text)) == ("[UNK]" in tokenizer.tokenize(text))

    def test_rare_words_are_spelt_and_frequent_ones_kept(self):
        _, tokenizer = classifier()
        pruned, pruned_tokenizer = pruned_classifier("wave wave ocean", more_tokens=1)
        assert pruned_tokenizer.tokenize("wave one") == ["wave", "o", "##n", "##e"]
        assert len(pruned_tokenizer) == pruned.config.vocab_size == smallest_size(tokenizer) + 1
        assert pruned.get_input_embeddings().num_embeddings == pruned.config.vocab_size
        assert pruned.config.pad_token_id == pruned_tokenizer.pad_token_id

    def test_nothing_is_lost_that_texts_use(self):
        model, tokenizer = classifier()
        pruned, pruned_tokenizer = prune_vocabulary(model, tokenizer, TEXTS, len(tokenizer))
        assert len(pruned_tokenizer) <= len(tokenizer)
        for text in TEXTS:
            assert torch.equal(logits(pruned, pruned_tokenizer, text), logits(model, tokenizer, text))

    def test_special_tokens_may_stand_anywhere(self):
        vocab = {
            token: i for i, token in enumerate(["wave", "w", "[SEP]", "##s", "[CLS]", "[UNK]", "[MASK]", "[PAD]"])
        }
        tokenizer = BertTokenizer(vocab=vocab)
        model = tiny_model(vocab_size=len(vocab), pad_token_id=7)
        pruned, pruned_tokenizer = prune_vocabulary(model, tokenizer, [], 7)
        assert pruned_tokenizer.convert_ids_to_tokens(pruned_tokenizer("ws")["input_ids"]) == [
            "[CLS]",
            "w",
            "##s",
            "[SEP]",
        ]
        assert torch.equal(logits(pruned, pruned_tokenizer, "ws"), logits(model, tokenizer, "ws"))
        assert pruned.config.pad_token_id == pruned_tokenizer.pad_token_id == 6

    def test_result_saves_loads_and_trains(self, tmp_path):
        model, tokenizer = classifier()
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.backend_tokenizer.enable_truncation(6)
        pruned, pruned_tokenizer = prune_vocabulary(model, tokenizer, TEXTS, smallest_size(tokenizer) + 2)
        pruned.save_pretrained(tmp_path)
        pruned_tokenizer.save_pretrained(tmp_path)
        loaded = WaveForSequenceClassification.from_pretrained(tmp_path)
        loaded_tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        assert loaded_tokenizer.get_vocab() == pruned_tokenizer.get_vocab()
        assert loaded_tokenizer.backend_tokenizer.truncation["max_length"] == 6
        assert torch.equal(logits(loaded, loaded_tokenizer, TEXTS[0]), logits(pruned, pruned_tokenizer, TEXTS[0]))
        loaded(**loaded_tokenizer(TEXTS[0], return_tensors="pt"), labels=torch.tensor([1])).loss.backward()
        assert loaded.get_input_embeddings().weight.grad.any()

    def test_model_and_tokenizer_stay_as_they_were(self):
        model, tokenizer = classifier()
        size, expected = len(tokenizer), logits(model, tokenizer, TEXTS[0])
        prune_vocabulary(model, tokenizer, [], smallest_size(tokenizer))
        assert len(tokenizer) == model.config.vocab_size == size
        assert torch.equal(logits(model, tokenizer, TEXTS[0]), expected)

    def test_too_small_a_vocabulary_is_refused(self):
        model, tokenizer = classifier()
        smallest = smallest_size(tokenizer)
        with pytest.raises(ValueError, match=rf"vocab_size is {smallest - 1}, but should be at least {smallest}"):
            prune_vocabulary(model, tokenizer, TEXTS, smallest - 1)

    def test_other_kinds_of_tokenizer_are_refused(self):
        with pytest.raises(TypeError, match="GPT2Tokenizer, but should be a BertTokenizer"):
            prune_vocabulary(tiny_model(), GPT2Tokenizer(vocab={"a": 0}, merges=[]), TEXTS, 8)


@pytest.mark.parametrize("parts", [{}, {"tie_word_embeddings": False}, {"embedding_size": 4}], ids=str)
class TestPruneMaskedLM:
    """The decoder of a language modelling head loses the same rows, whether it shares the token table or not."""

    @pytest.fixture
    def pair(self, parts):
        tokenizer = train_tokenizer(TEXTS)
        model = tiny_model(model_class=WaveForMaskedLM, vocab_size=len(tokenizer), local_kernel_size=3, **parts)
        pruned, pruned_tokenizer = prune_vocabulary(model, tokenizer, TEXTS[:1], smallest_size(tokenizer) + 3)
        return model, tokenizer, pruned, pruned_tokenizer

    def test_kept_tokens_keep_their_logits(self, parts, pair):
        model, tokenizer, pruned, pruned_tokenizer = pair
        rows = tokenizer.convert_tokens_to_ids(pruned_tokenizer.convert_ids_to_tokens(range(len(pruned_tokenizer))))
        text = "one [MASK] and a wave"
        assert_close(logits(pruned, pruned_tokenizer, text), logits(model, tokenizer, text)[..., rows], **SAME)
        is_shared = pruned.get_output_embeddings().weight is pruned.get_input_embeddings().weight
        assert is_shared == model.config.tie_word_embeddings

    def test_result_saves_loads_and_trains(self, parts, pair, tmp_path):
        _, _, pruned, tokenizer = pair
        pruned.save_pretrained(tmp_path)
        loaded, info = WaveForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values())
        assert torch.equal(logits(loaded, tokenizer, "one [MASK]"), logits(pruned, tokenizer, "one [MASK]"))
        ids = tokenizer("one wave", return_tensors="pt")["input_ids"]
        loaded(ids, labels=ids).loss.backward()
        assert loaded.decoder.bias.grad.shape == (len(tokenizer),)


def low_rank(model, rank):
    """Makes the token table of a model a product of two narrow ones."""
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table.copy_(table[:, :rank] @ torch.randn(rank, table.shape[1], generator=torch.Generator().manual_seed(1)))
    return model


class TestFactorizeEmbeddings:
    def test_table_of_that_rank_is_factorized_without_loss(self):
        model = low_rank(tiny_model(), rank=3)
        factorized = factorize_embeddings(model, 3)
        assert factorized.get_input_embeddings().weight.shape == (model.config.vocab_size, 3)
        assert factorized.config.embedding_size == 3
        ids = torch.arange(20).view(4, 5)
        assert_close(factorized(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("parts", [{}, ALL_PARTS])
    def test_wider_tables_are_closer(self, parts):
        model = tiny_model(**parts)
        ids = torch.arange(20).view(4, 5)
        width = model.get_input_embeddings().embedding_dim
        errors = []
        for size in (1, width - 1):
            changed = factorize_embeddings(model, size)(ids, output_hidden_states=True).hidden_states[0]
            errors.append((changed - model(ids, output_hidden_states=True).hidden_states[0]).square().sum())
        assert errors[1] < errors[0]

    def test_result_saves_and_loads(self, tmp_path):
        factorized = factorize_embeddings(low_rank(tiny_model(**ALL_PARTS), rank=2), 2)
        factorized.save_pretrained(tmp_path)
        loaded = WaveForSequenceClassification.from_pretrained(tmp_path)
        ids = torch.arange(20).view(4, 5)
        assert torch.equal(loaded(ids).logits, factorized(ids).logits)

    @pytest.mark.parametrize("parts", [{}, ALL_PARTS], ids=["default", "all parts"])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_dtype_stays_and_costs_no_accuracy(self, dtype, parts):
        model = low_rank(tiny_model(**parts), rank=3).to(dtype)
        factorized = factorize_embeddings(model, 3)
        assert {parameter.dtype for parameter in factorized.parameters()} == {dtype}
        expected = factorize_embeddings(copy.deepcopy(model).float(), 3).get_input_embeddings().weight
        table = factorized.get_input_embeddings().weight.float()
        assert_close(table, expected, rtol=torch.finfo(dtype).eps, atol=1e-5)

    def test_device_stays(self):
        # Without an accelerator, the default device stands for the other one.
        model = tiny_model(**ALL_PARTS)
        with torch.device("meta"):
            factorized = factorize_embeddings(model, 2)
        assert {parameter.device.type for parameter in factorized.parameters()} == {"cpu"}

    def test_table_of_fewer_rows_is_refused(self):
        with pytest.raises(ValueError, match="embedding_size is 6, but should be at most 5, the number of tokens"):
            factorize_embeddings(tiny_model(vocab_size=5), 6)

    def test_language_modelling_head_is_refused_but_its_network_is_not(self):
        model = tiny_model(model_class=WaveForMaskedLM, local_kernel_size=3)
        with pytest.raises(ValueError, match="model is a WaveForMaskedLM, whose head cannot be narrowed"):
            factorize_embeddings(model, 2)
        assert factorize_embeddings(model.wave, 2).config.embedding_size == 2

    def test_model_stays_as_it_was(self):
        model = tiny_model()
        expected = model(torch.arange(5)[None]).logits
        factorize_embeddings(model, 2)
        assert model.config.embedding_size is None
        assert torch.equal(model(torch.arange(5)[None]).logits, expected)

    @pytest.mark.parametrize("size", [0, 8])
    def test_impossible_widths_are_refused(self, size):
        with pytest.raises(ValueError, match=f"embedding_size is {size}, but should be at least 1 and below 8"):
            factorize_embeddings(tiny_model(), size)
