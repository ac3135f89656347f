"""Tests of `examples/run_qa.py`, from outside: what it reads, writes and refuses."""

import json

import pytest
import torch
from run_qa import main  # noqa: F401 (the fixture `run` calls it)
from safetensors.torch import load_file

COLORS = ["red", "green", "blue", "very dark grey"]
RECIPE = ("--config_overrides", "local_kernel_size=5,residual=true,hidden_dropout_prob=0")


def question(context, answer, name):
    answers = {"text": [answer] if answer else [], "answer_start": [context.index(answer)] if answer else []}
    return {"id": name, "question": "Which color?", "context": context, "answers": answers}


@pytest.fixture
def questions():
    """Return 48 rows whose answer stands behind "was", in contexts of several lengths."""
    return [
        question(f"{'It rained. ' * (i % 3)}The {thing} was {color} all day.", color, f"{thing} {color} {i}")
        for i in range(3)
        for thing in ("sea", "sky", "hill", "car")
        for color in COLORS
    ]


@pytest.fixture
def train_file(write, questions):
    return write("train.json", questions)


def results(folder):
    return json.loads((folder / "all_results.json").read_text())


def test_answers_are_learnt_and_written(run, train_file, questions, write):
    test_file = write("test.json", [{name: row[name] for name in ("id", "question", "context")} for row in questions])
    out = run(
        *("--train_file", train_file, "--validation_file", train_file, "--test_file", test_file, "--do_train"),
        *("--do_eval", "--do_predict", "--num_train_epochs", 20, *RECIPE),
    )
    assert results(out)["eval_exact_match"] == results(out)["eval_f1"] == 100
    right = {row["id"]: row["answers"]["text"][0] for row in questions}
    for prefix in ("eval", "predict"):
        assert json.loads((out / f"{prefix}_predictions.json").read_text()) == right
        n_best = json.loads((out / f"{prefix}_nbest_predictions.json").read_text())
        for name, answers in n_best.items():
            assert answers[0]["text"] == right[name]
            assert sum(answer["probability"] for answer in answers) == pytest.approx(1)


def test_contexts_longer_than_a_window(run, train_file, questions):
    out = run(
        *("--train_file", train_file, "--validation_file", train_file, "--do_train", "--do_eval", *RECIPE),
        *("--num_train_epochs", 20, "--max_seq_length", 16, "--doc_stride", 6),
    )
    assert results(out)["eval_samples"] > len(questions)
    assert results(out)["eval_exact_match"] > 90


def test_questions_without_an_answer(run, write, questions):
    without = [question(f"Nothing was {word} about it.", "", word) for word in ("odd", "new", "bad", "big") * 1]
    file = write("mixed.json", questions + [row | {"id": f"{row['id']} {i}"} for i in range(4) for row in without])
    out = run(
        *("--train_file", file, "--validation_file", file, "--do_train", "--do_eval", "--version_2_with_negative"),
        *("--num_train_epochs", 20, *RECIPE),
    )
    predictions = json.loads((out / "eval_predictions.json").read_text())
    odds = json.loads((out / "eval_null_odds.json").read_text())
    assert all((predictions[name] == "") == (odds[name] > 0) for name in odds)
    assert results(out)["eval_exact_match"] > 90


def test_resumed_run_ends_as_the_uninterrupted_one(run, train_file):
    options = ("--train_file", train_file, "--do_train", "--num_train_epochs", 2, "--save_steps", 4)
    whole = run(*options, output="whole")
    resumed = run(*options, "--resume_from_checkpoint", whole / "checkpoint-8", output="resumed")
    torch.testing.assert_close(load_file(resumed / "model.safetensors"), load_file(whole / "model.safetensors"))


class TestWrongInput:
    def test_answer_outside_the_context(self, refused, write, questions):
        questions[3]["answers"]["answer_start"] = [0]
        message = refused("--train_file", write("odd.json", questions), "--do_train")
        assert questions[3]["id"] in message
        assert "very dark grey" in message

    def test_two_rows_of_one_id(self, refused, write, questions):
        assert "same id" in refused("--train_file", write("odd.json", [*questions, questions[0]]), "--do_train")

    def test_no_column_of_answers(self, refused, write):
        file = write("odd.json", [{"question": "Who?", "context": "Anna."}])
        assert "no column answers" in refused("--train_file", file, "--do_train")

    def test_windows_that_do_not_move(self, refused, train_file):
        message = refused("--train_file", train_file, "--do_train", "--max_seq_length", 20, "--doc_stride", 20)
        assert "--doc_stride" in message

    def test_question_longer_than_a_window(self, refused, write, questions):
        questions[0]["question"] = "Why " * 40
        options = ("--max_seq_length", 16, "--doc_stride", 4)
        assert "longest question of the train data" in refused(
            "--train_file", write("odd.json", questions), "--do_train", *options
        )
