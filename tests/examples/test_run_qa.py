"""Tests of `examples/run_qa.py`, from outside: what it reads, writes and refuses."""

import json

import pytest
from outputs import assert_equal_weights, results
from run_qa import main  # noqa: F401 (the fixture `run` calls it)

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_contexts_longer_than_a_window(run, train_file, questions):
    out = run(
        *("--train_file", train_file, "--validation_file", train_file, "--do_train", "--do_eval", *RECIPE),
        *("--num_train_epochs", 20, "--max_seq_length", 16, "--doc_stride", 6),
    )
    assert results(out)["eval_samples"] > len(questions)
    assert results(out)["eval_exact_match"] > 90


@pytest.mark.slow
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


def test_nested_questions_are_predicted(run, train_file, tmp_path, questions):
    qas = [{"context": row["context"], "qas": [{"id": row["id"], "question": row["question"]}]} for row in questions]
    (tmp_path / "test.json").write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": qas}]}))
    options = ("--test_file", tmp_path / "test.json", "--do_train", "--do_predict", "--max_steps", 1)
    out = run("--train_file", train_file, *options)
    assert list(json.loads((out / "predict_predictions.json").read_text())) == [row["id"] for row in questions]


def test_models_that_return_hidden_states_are_evaluated(run, train_file):
    files = ("--train_file", train_file, "--validation_file", train_file, "--test_file", train_file)
    overrides = ("--config_overrides", "output_hidden_states=true")
    out = run(*files, "--do_train", "--do_eval", "--do_predict", "--max_steps", 1, *overrides)
    assert "eval_f1" in results(out)
    assert (out / "predict_predictions.json").exists()


@pytest.mark.slow
def test_resumed_run_ends_as_the_uninterrupted_one(run, train_file):
    options = ("--train_file", train_file, "--do_train", "--num_train_epochs", 2, "--save_steps", 4)
    whole = run(*options, output="whole")
    resumed = run(*options, "--resume_from_checkpoint", whole / "checkpoint-8", output="resumed")
    assert_equal_weights(resumed, whole)


class TestWrongInput:
    def test_answer_outside_the_context(self, refused, write, questions):
        questions[3]["answers"]["answer_start"] = [0]
        message = refused("--train_file", write("odd.json", questions), "--do_train")
        assert questions[3]["id"] in message
        assert "very dark grey" in message

    @pytest.mark.parametrize(
        "answers",
        [
            None,
            "red",
            {"text": "red", "answer_start": 12},
            {"text": ["red"], "answer_start": ["12"]},
            {"text": ["red"], "answer_start": []},
            {"text": ["red"]},
            ["red"],
        ],
    )
    def test_answers_of_another_form(self, refused, write, questions, answers):
        message = refused("--train_file", write("odd.json", [questions[0] | {"answers": answers}] * 2), "--do_train")
        assert f"Row {questions[0]['id']} of the train data has the answers" in message
        assert '{"text": ["..."], "answer_start": [0]}' in message

    @pytest.mark.parametrize("data", ["none", ["none"], [{"paragraphs": [{"context": "It rained."}]}]])
    def test_nested_rows_of_another_form(self, refused, tmp_path, data):
        (tmp_path / "odd.json").write_text(json.dumps({"version": "1.1", "data": data}))
        message = refused("--train_file", tmp_path / "odd.json", "--do_train")
        assert "Question 0 of the train data cannot be read" in message
        assert '"context": "..."' in message

    def test_an_answer_counted_from_the_end(self, refused, write, questions):
        questions[3]["answers"]["answer_start"][0] -= len(questions[3]["context"])
        assert "is not at character" in refused("--train_file", write("odd.json", questions), "--do_train")

    def test_a_question_that_is_no_text(self, refused, write, questions):
        file = write("odd.json", [questions[0] | {"question": ["Which", "color?"]}])
        message = refused("--train_file", file, "--do_train")
        assert message.startswith(f"Row {questions[0]['id']} of the train data: ")
        assert "is a list, but should be a text" in message

    def test_one_row_among_others(self, refused, write, questions):
        rows = [*questions, questions[0] | {"id": "odd", "answers": "red"}]
        message = refused("--train_file", write("odd.json", rows), "--do_train")
        assert message.startswith("Row odd of the train data has the answers red")

    @pytest.mark.parametrize("option", [("--max_answer_length", 0), ("--n_best_size", 0), ("--doc_stride", -1)])
    def test_impossible_sizes(self, refused, train_file, option):
        assert f"{option[0]} is {option[1]}, but should be" in refused(
            "--train_file", train_file, "--do_train", *option
        )

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
