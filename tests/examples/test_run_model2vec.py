"""Tests of the model2vec baseline."""

import json

import numpy as np
import pytest
import run_model2vec
from model2vec import StaticModel

from wave_hf import train_tokenizer


def test_learns_rows_that_a_word_gives_away(rows, write, command_line, tmp_path, capsys):
    tokenizer = train_tokenizer([row["text"] for row in rows], vocab_size=200).backend_tokenizer
    vectors = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 64)).astype(np.float32)
    StaticModel(vectors, tokenizer).save_pretrained(tmp_path / "static")
    file = write("rows.csv", rows * 10)
    command_line(model_name_or_path=tmp_path / "static", train_file=file, validation_file=file)
    run_model2vec.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["eval_accuracy"] == 1
    assert result["parameters"] > vectors.size


def test_a_missing_model_ends_with_one_line(train_file, command_line, tmp_path):
    command_line(model_name_or_path=tmp_path / "nowhere", train_file=train_file, validation_file=train_file)
    with pytest.raises(SystemExit, match="nowhere"):
        run_model2vec.main()
