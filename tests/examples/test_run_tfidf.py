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


@pytest.mark.parametrize(("task", "metric"), [("mrpc", "eval_accuracy"), ("stsb", "eval_pearson")])
def test_learns_whether_the_sides_of_a_pair_share_a_word(task, metric, write, monkeypatch, capsys):
    words = ("rain", "snow", "soup", "bread")
    pairs = [{"sentence1": a, "sentence2": b, "label": int(a == b)} for a in words for b in words for _ in range(9)]
    file = write("pairs.csv", pairs)
    arguments = ["--task_name", task, "--train_file", file, "--validation_file", file, "--inverse_regularization", "9"]
    monkeypatch.setattr(sys, "argv", ["run_tfidf.py", *arguments])
    run_tfidf.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[metric] == pytest.approx(1, abs=1e-3)
