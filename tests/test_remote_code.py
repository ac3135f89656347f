"""Tests of models whose classes came with their weights: the tools of this package read them like its own."""

import subprocess
import sys

import pytest
import torch
from builders import TEXTS, random_ids, save_classifier, tiny_model
from torch.testing import assert_close
from transformers import AutoTokenizer, PreTrainedTokenizerBase, TrainingArguments
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from wave_hf import WaveForQuestionAnswering, WaveForSequenceClassification, WaveForTokenClassification, WaveModel
from wave_hf.analysis import token_shares
from wave_hf.analysis.waves import waves
from wave_hf.compression import factorize_embeddings, prune_vocabulary
from wave_hf.folding import fold
from wave_hf.model_card import ModelCardTrainer
from wave_hf.remote_code import is_instance
from wave_hf.sequence_parallel import sequence_parallel

LOADED_BEFORE_THE_PACKAGE = """
import sys
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
import wave_hf
from wave_hf.analysis import token_shares

assert not isinstance(model, wave_hf.WaveForSequenceClassification)
shares = token_shares(model, tokenizer, "two waves")
print((shares.shares.sum(dim=0) + shares.bias - shares.logits).abs().max().item() < 1e-5)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_classifier(folder, final_norm="pooled")
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder) -> WaveForSequenceClassification:
    return WaveForSequenceClassification.from_pretrained(folder)


@pytest.fixture(scope="module")
def copied(folder):
    """Return the same model, of a class that is no class of this package."""
    copied_class = get_class_from_dynamic_module("modeling_wave.WaveForSequenceClassification", str(folder))
    assert not issubclass(copied_class, WaveForSequenceClassification)
    return copied_class.from_pretrained(folder)


def test_model_is_an_instance_of_the_classes_that_its_own_were_copied_from(model, copied):
    for network in (model, copied):
        assert is_instance(network, WaveForTokenClassification, WaveForSequenceClassification)
        assert is_instance(network.wave, WaveModel)
        assert not is_instance(network, WaveForTokenClassification, WaveModel)


def test_class_of_the_same_name_in_other_code_is_no_copy():
    other = type("WaveModel", (torch.nn.Module,), {"__module__": "somewhere.else"})
    assert not is_instance(other(), WaveModel)


def test_token_shares(model, copied, tokenizer):
    expected = token_shares(model, tokenizer, TEXTS[0])
    assert_close(token_shares(copied, tokenizer, TEXTS[0]).shares, expected.shares)


def test_waves(model, copied, tokenizer):
    expected = waves(model, tokenizer, TEXTS[0]).layers[0].combined
    assert_close(waves(copied, tokenizer, TEXTS[0]).layers[0].combined, expected)


def test_folding(model, copied, tokenizer):
    expected, folded = fold(model, tokenizer), fold(copied, tokenizer)
    assert folded.config == expected.config
    assert (folded.logits(TEXTS) == expected.logits(TEXTS)).all()


def test_compression(model, copied, tokenizer):
    ids = random_ids(2, 5) % 4
    for network in (model, copied):
        narrow = factorize_embeddings(network, 4)
        pruned, _ = prune_vocabulary(network, tokenizer, TEXTS, len(tokenizer))
        assert type(narrow) is type(pruned) is type(network)
    assert_close(factorize_embeddings(copied, 4)(ids).logits, factorize_embeddings(model, 4)(ids).logits)


def test_card(copied, tmp_path):
    trainer = ModelCardTrainer(copied, TrainingArguments(tmp_path, report_to="none", use_cpu=True))
    trainer.create_model_card()
    assert "Wave Network" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("head", [WaveForTokenClassification, WaveForQuestionAnswering])
def test_sequence_parallel_refuses_heads_that_label_tokens(head, tmp_path):
    tiny_model(model_class=head).save_pretrained(tmp_path)
    copied_class = get_class_from_dynamic_module(f"modeling_wave.{head.__name__}", str(tmp_path))
    copied = copied_class.from_pretrained(tmp_path)
    message = f"model is a {head.__name__}, but should read whole texts"
    with pytest.raises(ValueError, match=message), sequence_parallel(copied):
        pass


def test_model_that_was_loaded_before_the_package(folder):
    command = [sys.executable, "-c", LOADED_BEFORE_THE_PACKAGE, str(folder)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert ended.stdout.splitlines()[-1:] == ["True"], ended.stderr
