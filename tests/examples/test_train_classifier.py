"""Tests of `examples/train_classifier.py`, from outside."""

import json

import pytest
import train_classifier
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from transformers import pipeline


@pytest.fixture
def run(command_line, tmp_path):
    """Return a function that trains a small classifier in this process and returns its folder."""

    def train(**options):
        small = {"hidden_size": 16, "batch_size": 8, "learning_rate": 0.02, "num_train_epochs": 5}
        command_line(output_dir=tmp_path / "out", **small | options)
        train_classifier.main()
        return tmp_path / "out"

    return train


@pytest.mark.slow
def test_labels_are_learnt_and_predicted(run, train_file, rows, capsys):
    out = run(train_file=train_file, validation_file=train_file)
    assert json.loads((out / "eval_results.json").read_text())["eval_accuracy"] == 1
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith(f"{rows[0]['text']} {{'label': 'weather'")
    classify = pipeline("text-classification", str(out))
    assert [found["label"] for found in classify([row["text"] for row in rows])] == [row["label"] for row in rows]


@pytest.mark.slow
def test_labels_may_be_numbers_and_na_in_json_or_csv(run, write, rows):
    numbers = [row | {"label": ["weather", "kitchen"].index(row["label"]) + 3} for row in rows]
    out = run(train_file=write("numbers.json", numbers))
    assert json.loads((out / "config.json").read_text())["id2label"] == {"0": "3", "1": "4"}
    names = write("names.csv", [row | {"label": row["label"].replace("weather", "NA")} for row in rows])
    out = run(train_file=names, num_train_epochs=1)
    assert json.loads((out / "config.json").read_text())["id2label"] == {"0": "NA", "1": "kitchen"}


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_that_numpy_does_not_take(run, seed):
    with pytest.raises(SystemExit, match=f"^--seed is {seed}, but should be at least 0 and less than 2\\*\\*32$"):
        run(seed=seed)


def test_without_files_the_rows_are_documentation(run, monkeypatch, rows):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["kitchen", "weather"])})
    corpus = Dataset.from_list(rows).cast(features)
    splits = DatasetDict(train=corpus, validation=corpus)
    monkeypatch.setattr(train_classifier, "load_documentation_corpus", lambda: splits)
    out = run(num_train_epochs=1)
    assert json.loads((out / "config.json").read_text())["id2label"] == {"0": "kitchen", "1": "weather"}
