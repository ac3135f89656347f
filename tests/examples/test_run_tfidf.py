"""Tests of the tf-idf baseline."""

import json
import sys

import pytest
import run_tfidf


@pytest.mark.parametrize("ngrams", ["1", "2"])
def test_learns_rows_that_a_word_gives_away(ngrams, rows, write, monkeypatch, capsys):
    file = write("rows.csv", rows)
    monkeypatch.setattr(
        sys, "argv", ["run_tfidf.py", "--train_file", file, "--validation_file", file, "--ngrams", ngrams]
    )
    run_tfidf.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["eval_accuracy"] == 1
    assert result["eval_samples"] == len(rows)
