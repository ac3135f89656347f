"""Tests of `examples/run_ner.py`, from outside: what it reads, writes and refuses."""

import itertools
import json

import pytest
import torch
from run_ner import first_pieces, main  # noqa: F401 (the fixture `run` calls main)
from safetensors.torch import load_file
from transformers import AutoConfig, pipeline

TRAIN = ("--do_train", "--num_train_epochs", 15)


@pytest.fixture
def tagged():
    """Return 48 rows of words of which a name, of one word or two, is tagged."""
    names = [["Anna"], ["Boris"], ["Clara", "Stone"], ["David", "Moor"]]
    starts, ends = (["Yesterday"], ["I", "saw", "that"]), (["came", "home"], ["slept"], ["went", "far", "away"])
    times = (["late"], [])
    return [
        {
            "tokens": [*start, *name, *end, *time],
            "ner_tags": ["O"] * len(start) + ["B-PER", "I-PER"][: len(name)] + ["O"] * len(end + time),
        }
        for start, name, end, time in itertools.product(starts, names, ends, times)
    ]


@pytest.fixture
def train_file(write, tagged):
    return write("train.json", tagged)


def results(folder):
    return json.loads((folder / "all_results.json").read_text())


def predictions(folder):
    return [line.split() for line in (folder / "predictions.txt").read_text().splitlines()]


def test_entities_are_learnt_and_predicted(run, train_file, tagged, write):
    test_file = write("test.json", [{"tokens": row["tokens"]} for row in tagged])
    out = run(
        *("--train_file", train_file, "--validation_file", train_file, "--test_file", test_file),
        *TRAIN,
        *("--do_eval", "--do_predict"),
    )
    found = results(out)
    assert found["eval_f1"] == found["eval_precision"] == found["eval_recall"] == found["eval_accuracy"] == 1
    assert predictions(out) == [row["ner_tags"] for row in tagged]
    assert list(AutoConfig.from_pretrained(out).id2label.values()) == ["B-PER", "I-PER", "O"]
    (entity,) = pipeline("token-classification", str(out), aggregation_strategy="simple")("Yesterday Anna slept")
    assert (entity["entity_group"], entity["word"]) == ("PER", "Anna")


def test_files(run, train_file):
    out = run("--train_file", train_file, "--do_train", "--do_eval", "--max_steps", 1, "--return_entity_level_metrics")
    assert {file.name for file in out.iterdir()} >= {"README.md", "eval_results.json", "model.safetensors"}
    assert results(out).items() >= {"train_samples": 45, "eval_samples": 3, "world_size": 1}.items()
    assert "eval_PER_recall" in results(out)


def test_tags_of_words_have_an_accuracy_alone(run, write, tagged):
    kinds = [{"words": row["tokens"], "pos_tags": [str(len(word) % 2) for word in row["tokens"]]} for row in tagged]
    out = run(
        "--train_file", write("kinds.json", kinds), "--task_name", "pos", "--do_train", "--do_eval", "--max_steps", 1
    )
    assert "eval_accuracy" in results(out)
    assert "eval_f1" not in results(out)


def test_words_that_are_cut_off_have_no_prediction(run, train_file):
    out = run("--train_file", train_file, "--test_file", train_file, *TRAIN, "--do_predict", "--max_seq_length", 4)
    assert {len(tags) for tags in predictions(out)} <= {1, 2}


def test_rows_without_words_are_read(run, write, tagged):
    file = write("gaps.json", [*tagged, {"tokens": [], "ner_tags": []}])
    run("--train_file", file, "--validation_file", file, "--do_train", "--do_eval", "--max_steps", 1)


def test_resumed_run_ends_as_the_uninterrupted_one(run, train_file):
    options = ("--train_file", train_file, "--do_train", "--num_train_epochs", 2, "--save_steps", 4)
    whole = run(*options, output="whole")
    resumed = run(*options, "--resume_from_checkpoint", whole / "checkpoint-8", output="resumed")
    torch.testing.assert_close(load_file(resumed / "model.safetensors"), load_file(whole / "model.safetensors"))


class TestWrongInput:
    def test_words_and_tags_of_other_numbers(self, refused, write):
        file = write("odd.json", [{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}, {"tokens": ["a"], "ner_tags": []}])
        assert "Row 1 of the train data has 1 words, but 0 tags" in refused("--train_file", file, "--do_train")

    def test_texts_in_place_of_words(self, refused, write):
        file = write("texts.csv", [{"tokens": "a b", "ner_tags": "O O"}])
        assert "not lists" in refused("--train_file", file, "--do_train")

    def test_no_column_of_tags(self, refused, train_file):
        assert "no column pos" in refused("--train_file", train_file, "--do_train", "--label_column_name", "pos")

    def test_tag_that_training_lacks(self, refused, write, train_file):
        file = write("other.json", [{"tokens": ["a"], "ner_tags": ["B-ORG"]}])
        message = refused("--train_file", train_file, "--validation_file", file, "--do_train", "--do_eval")
        assert "B-ORG" in message


def test_first_pieces():
    assert first_pieces([None, 0, 0, 1, None]) == [1, 3]
