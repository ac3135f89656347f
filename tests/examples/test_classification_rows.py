"""Tests of `examples/run_classification.py`, from outside: which rows and labels it takes, and as what."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import run_classification
from transformers import AutoConfig

main = run_classification.main


def label_names(folder):
    return list(AutoConfig.from_pretrained(folder).id2label.values())


def predictions(folder):
    """Return the predicted labels."""
    return [line.split("\t")[1] for line in (folder / "predict_results.txt").read_text().splitlines()[1:]]


@pytest.fixture
def train(run, write):
    """Return a function that trains a little on rows and returns the output folder."""

    def train_on(name, rows, *arguments):
        return run("--train_file", write(name, rows), "--do_train", "--max_steps", 1, *arguments)

    return train_on


@pytest.fixture
def relabel(rows):
    """Return a function that returns the rows with the label that a function gives for each number."""
    return lambda label: [row | {"label": label(i)} for i, row in enumerate(rows)]


class TestRowsAsTheyAre:
    @pytest.mark.slow
    @pytest.mark.parametrize("names", [["007", "7"], ["01", "true"], ["NA", "None", "null"], ["2020-01-01", "x"]])
    @pytest.mark.parametrize("suffix", ["csv", "json"])
    def test_label_names_are_texts(self, train, relabel, names, suffix):
        out = train(f"rows.{suffix}", relabel(lambda i: names[i % len(names)]))
        assert sorted(label_names(out)) == sorted(names)

    def test_all_labels_look_like_dates(self, train, relabel):
        out = train("rows.json", relabel(lambda i: f"2020-01-0{i % 2 + 1}"))
        assert label_names(out) == ["2020-01-01", "2020-01-02"]

    def test_texts_that_look_like_numbers_are_predicted_apart(self, run, train, write, rows):
        numbers = [{"text": ["007", "7"][i % 2], "label": ["a", "b"][i % 2]} for i in range(40)]
        out = run(
            *("--train_file", write("train.csv", numbers), "--test_file", write("test.csv", numbers[:4])),
            *("--do_train", "--do_predict", "--num_train_epochs", 20),
        )
        assert predictions(out) == ["a", "b", "a", "b"]

    def test_labels_may_be_partly_numbers(self, train, relabel):
        assert label_names(train("rows.json", relabel(lambda i: [1, "two"][i % 2]))) == ["1", "two"]

    def test_a_column_that_is_not_used_may_hold_anything(self, train, rows):
        notes = [{"a": 1}, [1], "x", None, 2**70, {"a": "b"}]
        train("rows.json", [row | {"note": notes[i % 6]} for i, row in enumerate(rows)])

    def test_large_types_of_arrow(self, run, rows, tmp_path):
        (tmp_path / "data").mkdir()
        large = pa.large_list(pa.large_string())
        columns = {
            "text": pa.array([row["text"] for row in rows], pa.large_string()),
            "label": pa.array([[row["label"]] for row in rows], large),
        }
        pq.write_table(pa.table(columns), tmp_path / "data" / "train.parquet")
        pq.write_table(pa.table(columns), tmp_path / "data" / "test.parquet")
        out = run("--dataset_name", tmp_path / "data", "--do_train", "--max_steps", 1)
        assert AutoConfig.from_pretrained(out).problem_type == "multi_label_classification"

    @pytest.mark.parametrize("column", ["text", "label"])
    @pytest.mark.parametrize(("value", "kind"), [({"a": 1}, "an object"), ([["a"]], "a list")])
    def test_what_is_no_text_is_refused_in_one_line(self, refused, write, rows, column, value, kind):
        rows[5][column] = value
        message = refused("--train_file", write("rows.json", rows), "--do_train")
        assert f"train data: row 5, column {column}: " in message
        assert kind in message

    def test_ids_in_place_of_texts_are_refused(self, refused, write, rows):
        file = write("ids.json", [row | {"text": [2, 3]} for row in rows])
        assert "row 0, column text: [2, 3] is a list" in refused("--train_file", file, "--do_train")


class TestRowsToPredict:
    @pytest.mark.parametrize("label", ["-1", "?", "unknown", ""])
    def test_labels_are_ignored(self, run, write, rows, train_file, label):
        file = write("new.csv", [row | {"label": label} for row in rows[::7]])
        out = run(
            *("--train_file", train_file, "--test_file", file, "--do_train", "--do_predict"),
            *("--num_train_epochs", 5),
        )
        assert predictions(out) == [row["label"] for row in rows[::7]]

    def test_labels_of_another_form_are_ignored(self, run, write, rows, train_file, tmp_path):
        model = run("--train_file", train_file, "--do_train", "--max_steps", 1)
        for label in ([1, 0], {"a": 1}, 0.5):
            file = write("new.json", [row | {"label": label} for row in rows[:3]])
            run("--model_name_or_path", model, "--test_file", file, "--do_predict", new=False)
            assert len(predictions(model)) == 3


class TestTask:
    def test_whole_floats_are_classes(self, train, relabel, caplog):
        out = train("rows.csv", relabel(lambda i: float(i % 2)))
        assert AutoConfig.from_pretrained(out).problem_type == "single_label_classification"
        assert label_names(out) == ["0.0", "1.0"]
        assert "--do_regression" in caplog.text

    def test_whole_floats_are_values_if_regression_is_asked_for(self, train, relabel):
        out = train("rows.csv", relabel(lambda i: float(i % 2)), "--do_regression")
        assert AutoConfig.from_pretrained(out).problem_type == "regression"

    @pytest.mark.parametrize("cell", ["NA", "1,5"])
    @pytest.mark.parametrize("options", [(), ("--do_regression",)])
    def test_scores_with_a_wrong_cell_are_refused(self, refused, write, relabel, cell, options):
        file = write("scores.csv", relabel(lambda i: cell if i == 7 else i / 3))
        message = refused("--train_file", file, "--do_train", *options)
        assert "row 7" in message
        assert cell in message

    def test_scores_without_one_are_refused(self, refused, write, relabel):
        file = write("scores.csv", relabel(lambda i: None if i == 7 else i / 3))
        assert "Row 7 of the train data has no label" in refused("--train_file", file, "--do_train")

    @pytest.mark.slow
    def test_vectors_have_a_class_at_each_place(self, run, write, rows):
        vectors = [
            row | {"label": [int(row["label"] == "weather"), int("went" in row["text"]), int("soup" in row["text"])]}
            for row in rows
        ]
        file = write("vectors.json", vectors)
        out = run(
            *("--train_file", file, "--validation_file", file, "--test_file", file, "--do_train", "--do_eval"),
            *("--do_predict", "--num_train_epochs", 30),
        )
        assert label_names(out) == ["LABEL_0", "LABEL_1", "LABEL_2"]
        assert json.loads((out / "eval_results.json").read_text())["eval_f1"] > 0.95
        assert predictions(out)[3] == "LABEL_0,LABEL_1"

    def test_several_labels_may_be_asked_for(self, train, rows):
        out = train("rows.csv", rows, "--do_multi_label")
        assert AutoConfig.from_pretrained(out).problem_type == "multi_label_classification"
        assert label_names(out) == ["kitchen", "weather"]

    def test_one_label_may_be_asked_for(self, train, relabel, refused, write):
        names = ["kitchen", "weather"]
        out = train("rows.json", relabel(lambda i: [names[i % 2]]), "--do_multi_label", "False")
        assert AutoConfig.from_pretrained(out).problem_type == "single_label_classification"
        file = write("two.json", relabel(lambda i: names[: 1 + i % 2]))
        message = refused("--train_file", file, "--do_train", "--do_multi_label", "False", output="outside")
        assert "row 1" in message

    def test_both_options_exclude_each_other(self, refused, train_file):
        message = refused("--train_file", train_file, "--do_train", "--do_regression", "--do_multi_label")
        assert "exclude each other" in message


class TestLimits:
    @pytest.mark.parametrize("option", ["--max_train_samples", "--max_eval_samples", "--max_predict_samples"])
    def test_no_rows_are_refused(self, refused, train_file, option):
        assert f"{option} is 0" in refused("--train_file", train_file, "--do_train", option, 0)

    @pytest.mark.parametrize("length", [-1, 0, 1, 2])
    def test_no_words_are_refused(self, refused, train_file, length):
        message = refused("--train_file", train_file, "--do_train", "--max_seq_length", length)
        assert f"--max_seq_length is {length}" in message
