"""The comparison of predictors: what they predict, what they are given, and what is left out."""

import logging
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from builders import TEXTS, save_classifier
from transformers import BertConfig, BertModel, BertTokenizer

from wave_hf import WaveConfig, train_tokenizer
from wave_hf.analysis.benchmark import predictors, preparation
from wave_hf.analysis.benchmark.measure import PredictionConditions
from wave_hf.analysis.benchmark.predictions import count_tokens, cut_texts, run_predictor
from wave_hf.analysis.benchmark.predictors import BATCH_TEXTS, BATCH_TOKENS, PREDICTORS, batches, split_words
from wave_hf.analysis.benchmark.preparation import LIBRARIES, load_rows, prepare
from wave_hf.training.arguments import ModelArguments


@pytest.fixture
def conditions(write, rows, tmp_path, monkeypatch):
    """Small models, and rows that a word gives away."""
    WaveConfig(vocab_size=200, hidden_size=16, final_norm="pooled").save_pretrained(tmp_path / "network")
    monkeypatch.setattr(preparation, "NETWORK", ModelArguments(config_name=str(tmp_path / "network")))
    monkeypatch.setattr(preparation, "recipe_defaults", lambda _: {"num_train_epochs": "3", "learning_rate": "0.02"})
    monkeypatch.setattr(preparation, "FASTTEXT_SETTINGS", {"dim": 10, "epoch": 10, "lr": 0.5, "bucket": 1000})
    files = {"train_file": write("train.csv", rows * 10), "validation_file": write("validation.csv", rows)}
    return PredictionConditions(**files, steps=1, seconds=0)


@pytest.fixture
def prepared(conditions, rows, tmp_path):
    """All predictors that can be prepared here, and the rows."""
    texts = [row["text"] for row in rows]
    vocabulary = train_tokenizer(texts, vocab_size=200).get_vocab()
    BertTokenizer(vocab=vocabulary).save_pretrained(tmp_path / "encoder")
    size = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    encoder = BertModel(BertConfig(vocab_size=len(vocabulary), **size))
    # Only the words make a difference, which bfloat16 keeps.
    torch.nn.init.zeros_(encoder.embeddings.position_embeddings.weight)
    encoder.eval().save_pretrained(tmp_path / "encoder")
    options = {"encoder": str(tmp_path / "encoder")}
    if find_spec("model2vec"):
        from model2vec import StaticModel

        tokenizer = train_tokenizer(texts, vocab_size=200).backend_tokenizer
        vectors = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 64)).astype(np.float32)
        StaticModel(vectors, tokenizer).save_pretrained(tmp_path / "static")
        options["static_model"] = str(tmp_path / "static")
    conditions = replace(conditions, **options)
    splits, task = load_rows(conditions)
    return prepare(conditions, splits, task, tmp_path)[0], texts, list(splits["validation"]["label"])


@pytest.mark.slow
def test_every_predictor_learns_rows_that_a_word_gives_away(prepared):
    folders, texts, labels = prepared
    missing = {name for name, library in LIBRARIES.items() if find_spec(library) is None}
    assert folders.keys() == PREDICTORS.keys() - missing
    for name, folder in folders.items():
        predictor = PREDICTORS[name](folder, 1)
        predictor.tokenize(texts)
        assert np.mean(np.array(predictor.predict(texts)) == labels) > 0.9, name


@pytest.fixture
def folded(conditions, tmp_path):
    """The folder of a folded network."""
    splits, task = load_rows(conditions)
    folders, _ = prepare(replace(conditions, predictors=["folded-float32"]), splits, task, tmp_path)
    return folders["folded-float32"]


@pytest.mark.slow
def test_process_measures_each_length(folded):
    job = {"rows": TEXTS, "texts": {"rows": TEXTS, "9": ["one"] * 9}, "steps": 2, "seconds": 0}
    measured = run_predictor("folded-float32", folded, job, num_threads=1)
    assert len(measured["labels"]) == len(TEXTS)
    assert list(measured["times"]) == ["rows", "9"]
    assert all(seconds > 0 for times in measured["times"].values() for seconds in times.values())
    assert min(measured["memory_mb"], measured["first_prediction_s"]) > 0


def test_process_that_fails_is_named(tmp_path):
    with pytest.raises(SystemExit, match="tfidf-words: the process failed with the status 1"):
        run_predictor("tfidf-words", tmp_path, {}, num_threads=1)


def test_what_is_missing_is_left_out_with_a_reason(conditions, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(preparation, "find_spec", lambda _: None)
    splits, task = load_rows(conditions)
    names = ["fasttext-words", "tfidf-words", "encoder-bfloat16"]
    with caplog.at_level(logging.INFO):
        folders, _ = prepare(replace(conditions, predictors=names), splits, task, tmp_path)
    assert list(folders) == ["tfidf-words"]
    assert "fasttext-words is left out: fasttext is not installed." in caplog.text
    assert "encoder-bfloat16 is left out: it needs --encoder." in caplog.text


@pytest.mark.slow
def test_nothing_is_left(conditions, tmp_path):
    splits, task = load_rows(conditions)
    with pytest.raises(SystemExit, match="No predictor is left to measure"):
        prepare(replace(conditions, predictors=["model2vec"]), splits, task, tmp_path)


def test_network_with_other_labels(conditions, tmp_path):
    save_classifier(tmp_path / "other", final_norm="pooled")
    splits, task = load_rows(conditions)
    with pytest.raises(SystemExit, match="it lacks the label 'kitchen' of the rows"):
        prepare(replace(conditions, model_name_or_path=str(tmp_path / "other")), splits, task, tmp_path)


@pytest.mark.parametrize("length", [1, 7, 300])
def test_texts_have_about_the_length(length):
    tokenizer = train_tokenizer(TEXTS * 2).backend_tokenizer
    texts = cut_texts(TEXTS, length, 3000, tokenizer)
    assert len(texts) == 3000 // length
    assert count_tokens(texts, tokenizer) == pytest.approx(3000, rel=0.35)


def test_batches_hold_all_texts_once_and_few_tokens():
    lengths = np.random.default_rng(0).integers(1, 3 * BATCH_TOKENS, 50)
    lengths = np.concatenate([lengths, np.full(200, 9)])
    order = lengths.argsort(kind="stable")
    found = list(batches(order, lengths))
    assert np.concatenate(found).tolist() == order.tolist()
    for rows in found:
        assert len(rows) <= BATCH_TEXTS
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= BATCH_TOKENS


def test_words_are_lower_case_and_apart_from_punctuation():
    assert split_words("Don't stop,  NOW!") == "don ' t stop , now !"


def test_the_program_imports_only_what_a_predictor_needs():
    code = (
        f"import runpy, sys; runpy.run_path({predictors.__file__!r}); print({{'numpy', 'torch'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
