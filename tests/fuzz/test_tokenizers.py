"""Any tokenizer: the training scripts, the saved tokenizer and an export read the same tokens."""

import random

import pytest
from builders import TEXTS
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from wave_hf import WaveConfig
from wave_hf.tokenization import longest_text, standalone_tokenizer
from wave_hf.training.arguments import DataArguments, ModelArguments
from wave_hf.training.loading import load_tokenizer
from wave_hf.training.tokenizing import length_options, set_truncation

from .cases import result_or_error, result_or_line, sample, seeds

pytestmark = pytest.mark.slow

WORDS = sorted({word for text in TEXTS for word in text.split()})
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
CHARACTERS = "aeiou wvnst,$\n\u200b é1"


def draw_tokenizer(rng):
    """Return a tokenizer of any kind, with or without special tokens, padding and a longest text."""
    special = [*sample(rng, SPECIAL, 4), "[UNK]"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*special, *WORDS, *CHARACTERS]))}
    model = rng.choice(
        [
            lambda: models.WordLevel(vocabulary, unk_token="[UNK]"),
            lambda: models.WordPiece(vocabulary, unk_token="[UNK]"),
            lambda: models.BPE(vocabulary, [], unk_token="[UNK]"),
            lambda: models.Unigram([(token, -1.0) for token in vocabulary], unk_id=vocabulary["[UNK]"]),
        ]
    )()
    backend = Tokenizer(model)
    if rng.random() < 0.8:
        backend.pre_tokenizer = rng.choice([pre_tokenizers.Whitespace(), pre_tokenizers.BertPreTokenizer()])
    if rng.random() < 0.5:
        backend.normalizer = rng.choice([normalizers.Lowercase(), normalizers.NFD(), normalizers.Strip()])
    if {"[CLS]", "[SEP]"} <= vocabulary.keys() and rng.random() < 0.7:
        ids = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
        backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ids)
    if rng.random() < 0.5:
        backend.enable_truncation(rng.choice([1, 3, 9]))
    if rng.random() < 0.5:
        backend.enable_padding(pad_token="[UNK]", pad_id=vocabulary["[UNK]"])
    options = {"unk_token": "[UNK]", "pad_token": "[PAD]" if "[PAD]" in vocabulary else None}
    limit = rng.choice([None, None, 4, 9, 512, 0, -1, 1, 9.0])
    options |= {} if limit is None else {"model_max_length": limit}
    sides = {side: rng.choice(["left", "right"]) for side in ("padding_side", "truncation_side")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **options, **sides)


def draw_texts(rng):
    words = [*WORDS, "", *CHARACTERS, "unheard"]
    return [" ".join(rng.choices(words, k=rng.randrange(12))) for _ in range(3)]


@seeds(60)
def test_tokenizer(seed, tmp_path):
    rng = random.Random(seed)
    draw_tokenizer(rng).save_pretrained(tmp_path)
    texts, config = draw_texts(rng), WaveConfig(hidden_size=8, max_position_embeddings=rng.choice([None, 2, 5, 16]))
    model_args = ModelArguments(tokenizer_name=str(tmp_path))
    tokenizer, line = result_or_line(load_tokenizer, model_args, config, (), None)
    assert line is None
    assert config.vocab_size == len(tokenizer)
    assert config.pad_token_id == tokenizer.pad_token_id
    assert tokenizer.pad_token_id is not None

    data_args = DataArguments(max_seq_length=rng.choice([0, 1, 2, 3, 8, 128]))
    options, line = result_or_line(length_options, tokenizer, config, data_args, is_training=rng.random() < 0.5)
    if line is not None:
        assert "leaves no token" in line
        return
    limit = options["max_length"]
    assert limit <= data_args.max_seq_length
    assert limit <= (config.max_position_embeddings or limit)
    trained = tokenizer(texts, **options)["input_ids"]
    assert all(len(ids) <= limit for ids in trained)
    assert all(0 <= token < config.vocab_size for ids in trained for token in ids)

    # What is saved reads the same, whatever the tokenizer was called with before.
    set_truncation(tokenizer)
    tokenizer.save_pretrained(tmp_path / "saved")
    assert longest_text(tokenizer, config) == limit
    saved = [encoding.ids for encoding in standalone_tokenizer(tokenizer, config).encode_batch(texts)]
    assert saved == trained
    from_file = Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    assert [encoding.ids for encoding in from_file.encode_batch(texts)] == trained


@seeds(20)
def test_standalone_tokenizer_cuts_as_a_pipeline(seed):
    rng = random.Random(seed)
    tokenizer, texts = draw_tokenizer(rng), draw_texts(rng)
    config = WaveConfig(hidden_size=8, max_position_embeddings=rng.choice([None, 2, 5, 16]))
    standalone, message = result_or_error(standalone_tokenizer, tokenizer, config)
    if message is not None:
        assert "leaves no token" in message
        return
    limit = longest_text(tokenizer, config)
    options = {"truncation": limit is not None, "max_length": limit}
    if limit is None:
        tokenizer.backend_tokenizer.no_truncation()
    expected = [tokenizer(text, **options)["input_ids"] for text in texts]
    assert [standalone.encode(text).ids for text in texts] == expected
