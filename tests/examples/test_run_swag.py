"""Tests of `examples/run_swag.py`, from outside: what it reads, writes and refuses."""

import pytest
from outputs import assert_equal_weights, results
from run_swag import main  # noqa: F401 (the fixture `run` calls it)
from transformers import AutoModelForMultipleChoice, AutoTokenizer


@pytest.fixture
def choices():
    """Return 48 rows whose right ending is the one of water, of unequal length."""
    endings = ["was dry", "was dusty and hot for days", "burnt", "swam in water"]
    rows = []
    for i in range(48):
        label = i % 4
        order = [ending for ending in endings if "water" not in ending]
        order.insert(label, endings[3])
        rows.append(
            {"sent1": "A day passed" + " slowly" * (i % 3), "sent2": "The fish"}
            | {f"ending{n}": ending for n, ending in enumerate(order)}
            | {"label": label}
        )
    return rows


@pytest.fixture
def train_file(write, choices):
    return write("train.csv", choices)


def test_right_endings_are_learnt(run, train_file):
    out = run(
        "--train_file", train_file, "--validation_file", train_file, "--do_train", "--do_eval", "--num_train_epochs", 5
    )
    assert results(out)["eval_accuracy"] == 1
    model, tokenizer = AutoModelForMultipleChoice.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    batch = tokenizer(
        ["A day passed"] * 2, ["The fish burnt", "The fish swam in water"], padding=True, return_tensors="pt"
    )
    assert model(**{name: ids.unsqueeze(0) for name, ids in batch.items()}).logits.argmax() == 1


def test_files(run, train_file):
    out = run("--train_file", train_file, "--do_train", "--do_eval", "--max_steps", 1)
    assert {file.name for file in out.iterdir()} >= {"README.md", "eval_results.json", "model.safetensors"}
    assert results(out).items() >= {"train_samples": 45, "eval_samples": 3}.items()


def test_models_that_return_hidden_states_are_evaluated(run, train_file):
    overrides = ("--config_overrides", "output_hidden_states=true")
    out = run("--train_file", train_file, "--do_train", "--do_eval", "--max_steps", 1, *overrides)
    assert "eval_accuracy" in results(out)


@pytest.mark.slow
def test_resumed_run_ends_as_the_uninterrupted_one(run, train_file):
    options = ("--train_file", train_file, "--do_train", "--num_train_epochs", 2, "--save_steps", 4)
    whole = run(*options, output="whole")
    resumed = run(*options, "--resume_from_checkpoint", whole / "checkpoint-8", output="resumed")
    assert_equal_weights(resumed, whole)


def test_label_that_is_no_ending(refused, write, choices):
    file = write("odd.csv", [*choices, choices[0] | {"label": 4}])
    assert (
        refused("--train_file", file, "--do_train")
        == "Row 48 of the train data has the label 4, but should have 0 to 3"
    )


def test_ending_that_is_no_text(refused, write, choices):
    file = write("odd.json", [choices[0] | {"ending1": ["was", "dry"]}])
    assert "Row 0 of the train data: ['was', 'dry'] is a list" in refused("--train_file", file, "--do_train")


def test_labels_may_be_whole_floats(run, write, choices):
    file = write("floats.json", [row | {"label": float(row["label"])} for row in choices])
    out = run("--train_file", file, "--validation_file", file, "--do_train", "--do_eval", "--num_train_epochs", 5)
    assert results(out)["eval_accuracy"] == 1


def test_missing_ending(refused, write):
    file = write("few.csv", [{"sent1": "a", "sent2": "b", "ending0": "c", "label": 0}])
    assert "no column ending1" in refused("--train_file", file, "--do_train")
