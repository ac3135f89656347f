"""The longest text of a run, and what the tokenizer keeps of it."""

import json

import pytest
from builders import TEXTS
from transformers import BertConfig

from wave_hf import WaveConfig, train_tokenizer
from wave_hf.training.arguments import DataArguments
from wave_hf.training.tokenizing import length_options, set_truncation


class TestLengthOptions:
    @pytest.fixture
    def tokenizer(self):
        tokenizer = train_tokenizer(TEXTS * 2)
        tokenizer.model_max_length = 50
        return tokenizer

    @pytest.mark.parametrize(
        ("config", "max_seq_length", "is_training", "limit"),
        [
            (WaveConfig(), 40, False, 40),
            (WaveConfig(), 60, False, 50),
            (WaveConfig(), 60, True, 60),
            (WaveConfig(max_position_embeddings=30), 60, True, 30),
            (BertConfig(max_position_embeddings=512), 60, True, 50),
        ],
    )
    def test_limit_is_kept_by_the_tokenizer(self, tokenizer, config, max_seq_length, is_training, limit):
        options = length_options(tokenizer, config, DataArguments(max_seq_length=max_seq_length), is_training)
        assert options == {"truncation": True, "max_length": limit, "padding": False}
        assert tokenizer.model_max_length == limit

    def test_log_says_what_limits_the_texts(self, tokenizer, caplog):
        with caplog.at_level("INFO", "wave_hf"):
            length_options(tokenizer, WaveConfig(), DataArguments(max_seq_length=60))
        assert "Texts are truncated to 50 tokens: model_max_length of the tokenizer" in caplog.text

    def test_saved_truncation_does_not_depend_on_the_last_call(self, tokenizer, tmp_path):
        for folder, options in (
            ("first", {}),
            ("second", {"truncation": True, "max_length": 7, "padding": "longest"}),
        ):
            tokenizer(TEXTS, **options)
            set_truncation(tokenizer)
            tokenizer.save_pretrained(tmp_path / folder)
        first, second = ((tmp_path / folder / "tokenizer.json").read_text() for folder in ("first", "second"))
        assert first == second
        assert json.loads(first)["truncation"]["max_length"] == 50
