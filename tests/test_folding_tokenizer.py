"""The tokens of folded networks: always those that tokenizers makes, whether tokie helps or not."""

from unittest import mock

import numpy as np
import pytest
from builders import save_classifier
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from wave_hf import folding, train_tokenizer
from wave_hf.folded_wave import TextTokenizer
from wave_hf.folding import FoldedWave, compare_tokenizers, fold

pytest.importorskip("tokie")

TEXTS = ["One wave, two waves: naïve café!", "ÄÖÜ \t straße\n\n東京 kyōto 🌊", "a [MASK] b[SEP]", "", "wave" * 40]


@pytest.fixture(scope="module")
def backend():
    """A WordPiece tokenizer, whose words and characters are those of the texts."""
    return train_tokenizer(TEXTS * 2).backend_tokenizer


@pytest.fixture
def tokenizer(backend):
    """The tokenizer with tokie, once the first texts were checked."""
    tokenizer = TextTokenizer(backend.to_str(), *compare_tokenizers(backend.to_str()))
    tokenizer.unchecked = 0
    return tokenizer


@pytest.fixture
def odd(tokenizer):
    """Characters on which the two disagree."""
    codes = np.flatnonzero(~tokenizer.agreeing_characters)
    return [chr(code) for code in codes if not 0xD800 <= code < 0xE000]


def assert_exact(tokenizer, backend, texts):
    tokens = tokenizer(texts)
    for text, start, length in zip(texts, tokens.starts, tokens.lengths, strict=True):
        own = slice(start, start + length)
        expected = backend.encode(*text) if isinstance(text, tuple) else backend.encode(text)
        assert tokens.ids[own].tolist() == expected.ids
        assert tokens.types[own].tolist() == expected.type_ids


def watch(tokenizer):
    """Returns what records the texts that tokie gets."""
    tokie = mock.Mock(wraps=tokenizer.tokie)
    tokenizer.tokie = tokie
    return tokie.encode_batch_flat


class TestTokens:
    @pytest.mark.slow
    @given(
        texts=st.lists(
            st.text(max_size=40) | st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=9
        )
    )
    @settings(max_examples=100)
    def test_are_those_of_tokenizers(self, backend, texts):
        versions, characters = compare_tokenizers(backend.to_str())
        assert_exact(TextTokenizer(backend.to_str(), versions, characters), backend, texts)

    @pytest.mark.slow
    @given(data=st.data())
    @settings(max_examples=100)
    def test_of_characters_that_agree_are_those_of_tokenizers(self, backend, data):
        versions, characters = compare_tokenizers(backend.to_str())
        tokenizer = TextTokenizer(backend.to_str(), versions, characters)
        tokenizer.unchecked = 0
        agreeing = [chr(code) for code in np.flatnonzero(characters)]
        pieces = st.sampled_from(agreeing) | st.sampled_from([*backend.get_vocab(), " ", "\n", "e\u0301"])
        texts = data.draw(st.lists(st.lists(pieces, max_size=60).map("".join), min_size=1, max_size=9))
        assert_exact(tokenizer, backend, texts)

    def test_of_pairs_have_types(self, tokenizer, backend):
        assert_exact(tokenizer, backend, [("one wave", "two"), "one wave", ("", "waves")])

    @pytest.mark.slow
    @pytest.mark.parametrize(("max_length", "direction"), [(1, "right"), (3, "left"), (40, "right")])
    def test_are_truncated_as_the_tokenizer_says(self, backend, max_length, direction):
        truncating = Tokenizer.from_str(backend.to_str())
        truncating.enable_truncation(max_length, direction=direction)
        json = truncating.to_str()
        texts = [*TEXTS, "one wave two " * 100, ("one wave " * 9, "two waves " * 9)]
        if max_length < 3:  # a pair has three special tokens
            texts.pop()
        assert_exact(TextTokenizer(json, *compare_tokenizers(json)), truncating, texts)


class TestTokie:
    @pytest.mark.slow
    def test_gets_texts_of_characters_that_agree(self, tokenizer, backend, odd):
        record = watch(tokenizer)
        texts = ["one wave", f"two {odd[0]} waves", "naïve", f"{odd[-1]}", "\U00020000", ("one", "two")]
        assert_exact(tokenizer, backend, texts)
        record.assert_called_once_with(["one wave", "naïve"])

    def test_is_not_used_for_ascii_on_which_it_differs(self, tokenizer, backend):
        record = watch(tokenizer)
        texts = [f"one {chr(code)} wave" for code in range(128)]
        assert_exact(tokenizer, backend, texts)
        agreeing = [text for code, text in enumerate(texts) if tokenizer.agreeing_characters[code]]
        record.assert_called_once_with(agreeing)

    def test_is_given_up_if_it_is_wrong_about_the_first_texts(self, backend, caplog):
        tokenizer = TextTokenizer(backend.to_str(), *compare_tokenizers(backend.to_str()))
        record = watch(tokenizer)
        record.side_effect = lambda texts: (np.ones(len(texts), np.uint32), np.ones(len(texts), np.uint64))
        assert_exact(tokenizer, backend, ["one wave", "two waves"])
        assert "it and tokenizers disagree on one of the first texts" in caplog.text
        assert_exact(tokenizer, backend, ["one wave"])
        record.assert_called_once()

    @pytest.mark.parametrize("library", ["tokie", "tokenizers"])
    def test_is_not_used_in_another_version_than_was_compared(self, backend, library, caplog):
        versions, characters = compare_tokenizers(backend.to_str())
        tokenizer = TextTokenizer(backend.to_str(), versions | {library: "0.0.1"}, characters)
        assert not tokenizer.uses_tokie
        assert f"'{library}': '0.0.1'" in caplog.text
        assert_exact(tokenizer, backend, TEXTS)

    def test_is_not_needed(self, backend):
        versions, characters = compare_tokenizers(backend.to_str())
        with mock.patch.dict("sys.modules", tokie=None):
            tokenizer = TextTokenizer(backend.to_str(), versions, characters)
            assert_exact(tokenizer, backend, TEXTS)

    def test_is_not_used_if_it_cannot_read_the_tokenizer(self, caplog):
        words = Tokenizer(WordLevel({"[UNK]": 0, "one": 1}, "[UNK]"))
        assert compare_tokenizers(words.to_str()) == (None, None)
        assert "tokie is not used, since it cannot read the tokenizer" in caplog.text

    def test_is_not_used_if_it_is_wrong_about_long_texts(self, backend, caplog, monkeypatch):
        def encode_wrongly(self, texts):
            tokens = self.encode(texts)
            tokens.ids[10_000:] = 0  # beyond all that is asked of single characters
            return tokens

        monkeypatch.setattr(TextTokenizer, "encode_with_tokie", encode_wrongly)
        monkeypatch.setattr(folding, "COMPARED_CODE_POINTS", 1000)
        assert compare_tokenizers.__wrapped__(backend.to_str()) == (None, None)
        assert "tokie is not used, since it makes other tokens of some texts" in caplog.text

    def test_is_not_used_if_single_texts_have_types(self, backend):
        typed = Tokenizer.from_str(backend.to_str())
        typed.post_processor = TemplateProcessing(single="$A:1", pair="$A:0 $B:1", special_tokens=[])
        assert compare_tokenizers(typed.to_str()) == (None, None)

    @pytest.mark.slow
    def test_agreement_is_saved_with_the_model(self, tmp_path):
        save_classifier(tmp_path / "checkpoint", final_norm="pooled")
        folded = fold(str(tmp_path / "checkpoint"))
        folded.save(tmp_path / "folded")
        loaded = FoldedWave.load(tmp_path / "folded").tokenizer
        assert loaded.uses_tokie
        assert_array_equal(loaded.agreeing_characters, folded.tokenizer.agreeing_characters)
        assert 0 < loaded.agreeing_characters.sum() < loaded.agreeing_characters.size
