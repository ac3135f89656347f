"""Training a tokenizer: what it encodes, what it needs, and that it comes out the same everywhere."""

import json
import os
import random
import subprocess
import sys

import pytest
from builders import TOKENIZER, tiny_config
from datasets import Dataset
from transformers import AutoTokenizer, BertTokenizer

from wave_hf import WaveConfig
from wave_hf.tokenization import check_tokenizer_fits, longest_text, standalone_tokenizer, train_tokenizer

TEXTS = [
    "A wave carries energy, not matter.",
    "Two waves that meet in phase add up; out of phase they cancel.",
    "The amplitude of a wave is its height, the phase its position.",
    "The sea is never still: wave follows wave.",
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return train_tokenizer(TEXTS, vocab_size=200)


def run_python(script: str, **environment: str) -> str:
    """Runs a script in a process of its own and returns what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return result.stdout


def test_decoding_gives_the_text_back(tokenizer):
    text = "two waves in phase add up"

    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_frequent_words_are_single_tokens(tokenizer):
    assert tokenizer.tokenize("the wave") == ["the", "wave"]


def test_special_tokens_stand_first_and_frame_a_text_and_a_pair(tokenizer):
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

    pair = tokenizer("wave", "phase")

    assert tokenizer.convert_ids_to_tokens(tokenizer("wave")["input_ids"]) == ["[CLS]", "wave", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(pair["input_ids"]) == ["[CLS]", "wave", "[SEP]", "phase", "[SEP]"]
    assert pair["token_type_ids"] == [0, 0, 0, 1, 1]


def test_padding_is_id_zero_under_a_zero_mask(tokenizer):
    batch = tokenizer(["wave", "wave wave"], padding=True)

    assert batch["input_ids"][0][-1] == 0
    assert batch["attention_mask"] == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_case_and_accents_are_ignored_by_default(tokenizer):
    assert tokenizer("WÀVE")["input_ids"] == tokenizer("wave")["input_ids"]


def test_case_is_kept_on_request():
    tokenizer = train_tokenizer(["Wave wave Wave wave"], do_lower_case=False)

    assert tokenizer.tokenize("Wave wave") == ["Wave", "wave"]


def test_unseen_words_are_pieced_together_from_seen_characters():
    assert train_tokenizer(["abc"]).tokenize("cab") == ["c", "##a", "##b"]


def test_words_with_unseen_characters_are_unknown(tokenizer):
    assert tokenizer.tokenize("wave waveλ 波") == ["wave", "[UNK]", "[UNK]"]


def test_punctuation_and_chinese_characters_are_words_of_their_own():
    assert train_tokenizer(["波动,wave!"]).tokenize("波!动") == ["波", "!", "动"]


def test_generators_and_dataset_columns_train_like_lists(tokenizer):
    column = Dataset.from_dict({"text": TEXTS})["text"]

    assert train_tokenizer((text for text in TEXTS), vocab_size=200).get_vocab() == tokenizer.get_vocab()
    assert train_tokenizer(column, vocab_size=200).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("vocab_size", [7, 50, 200, 1000])
def test_vocabulary_never_exceeds_its_size_however_many_characters(vocab_size):
    characters = [chr(code) for code in range(0x0400, 0x0800)]
    words = ["".join(random.Random(seed).choices(characters, k=5)) for seed in range(300)]

    tokenizer = train_tokenizer(words, vocab_size=vocab_size)

    assert len(tokenizer) <= vocab_size
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


def test_frequent_characters_are_kept_when_there_is_no_room_for_all():
    tokenizer = train_tokenizer(["a a a b b c"], vocab_size=9)

    assert tokenizer.tokenize("a b c") == ["a", "b", "[UNK]"]


@pytest.mark.parametrize("texts", [[], ["", " \n\t"]])
def test_no_text_is_refused(texts):
    with pytest.raises(ValueError, match="texts holds no text"):
        train_tokenizer(texts)


@pytest.mark.parametrize("vocab_size", [-1, 0, 5, 6])
def test_vocabulary_without_room_for_a_character_is_refused(vocab_size):
    with pytest.raises(ValueError, match=f"vocab_size is {vocab_size}, but should be at least 7"):
        train_tokenizer(TEXTS, vocab_size=vocab_size)


@pytest.mark.slow
def test_saved_tokenizer_loads_without_wave_hf(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    script = f"""
import json, sys
sys.modules["wave_hf"] = None  # any attempt to import it raises
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(tmp_path)!r})
print(json.dumps([type(tokenizer).__name__, dict(tokenizer("Two WAVES, λ", "phase"))]))
"""
    class_name, encoding = json.loads(run_python(script))

    assert class_name == "BertTokenizer"
    assert encoding == dict(tokenizer("Two WAVES, λ", "phase"))


def test_casing_survives_saving(tmp_path):
    train_tokenizer(["Wave wave Wave wave"], do_lower_case=False).save_pretrained(tmp_path)

    assert AutoTokenizer.from_pretrained(tmp_path).tokenize("Wave wave") == ["Wave", "wave"]


@pytest.mark.slow
def test_every_process_learns_the_same_vocabulary():
    # Words of random letters: many merges are equally frequent, so that any dependence on hashing shows.
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefgh", k=6)) for _ in range(500)]
    script = f"""
import json
from wave_hf import WaveConfig
from wave_hf.tokenization import check_tokenizer_fits, longest_text, standalone_tokenizer, train_tokenizer
print(json.dumps(train_tokenizer({words!r}, vocab_size=300).get_vocab()))
"""
    there = json.loads(run_python(script, PYTHONHASHSEED="7"))

    assert there == train_tokenizer(words, vocab_size=300).get_vocab()


def test_a_tokenizer_fits_a_table_with_a_row_for_each_token():
    check_tokenizer_fits(TOKENIZER, tiny_config(vocab_size=len(TOKENIZER)), "waves")
    message = "waves: the tokenizer has ids up to 14, but the token table has only 14 rows"
    with pytest.raises(ValueError, match=message):
        check_tokenizer_fits(TOKENIZER, tiny_config(vocab_size=len(TOKENIZER) - 1), "waves")


class TestLongestText:
    @pytest.fixture
    def tokenizer(self):
        return train_tokenizer(["one wave and two waves"] * 2)

    @pytest.mark.parametrize(
        ("max_length", "positions", "longest"),
        [(None, None, None), (9, None, 9), (None, 7, 7), (9, 7, 7), (7, 9, 7), (9.0, None, 9), (1e30, 5, 5)],
    )
    def test_is_the_smaller_of_tokenizer_and_positions(self, tokenizer, max_length, positions, longest):
        if max_length is not None:
            tokenizer.model_max_length = max_length
        config = WaveConfig(max_position_embeddings=positions)
        assert longest_text(tokenizer, config) == longest
        tokenizer.backend_tokenizer.enable_truncation(3)  # what the last call left does not matter
        standalone = standalone_tokenizer(tokenizer, config)
        assert len(standalone.encode("wave " * 99).ids) == (longest or 101)

    @pytest.mark.parametrize("max_length", [2, 0, -5])
    def test_without_room_for_a_token_is_refused(self, tokenizer, max_length):
        tokenizer.model_max_length = max_length
        message = f"model_max_length of the tokenizer is {max_length}, which leaves no token beside the 2 special ones"
        with pytest.raises(ValueError, match=message):
            longest_text(tokenizer, WaveConfig())

    def test_that_is_no_number_is_refused(self, tokenizer):
        tokenizer.model_max_length = "many"
        with pytest.raises(TypeError, match="model_max_length is 'many', but should be a number"):
            longest_text(tokenizer, WaveConfig())
