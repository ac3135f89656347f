"""Tests of `examples/run_classification.py`, from outside: what it refuses in one line."""

import subprocess
import sys

import pytest
import run_classification
from outputs import refusal

SCRIPT = run_classification.__file__
main = run_classification.main


class TestWrongInput:
    def test_nothing_to_do(self, refused, train_file):
        assert "--do_train" in refused("--train_file", train_file)

    def test_no_model_to_evaluate(self, refused, train_file):
        assert "--model_name_or_path" in refused("--validation_file", train_file, "--do_eval")

    def test_model_that_does_not_exist(self, refused, train_file):
        arguments = ("--validation_file", train_file, "--do_eval")
        assert "no-model" in refused("--model_name_or_path", "no-model", *arguments, new=False)

    def test_no_rows_to_predict(self, refused, train_file):
        assert "test" in refused("--train_file", train_file, "--do_train", "--do_predict")

    def test_file_that_does_not_exist(self, refused):
        assert "missing.csv" in refused("--train_file", "missing.csv", "--do_train")

    def test_dataset_that_does_not_exist(self, refused):
        assert "no-dataset" in refused("--dataset_name", "no-dataset", "--do_train")

    @pytest.mark.parametrize("content", ["", "text,label\n"])
    @pytest.mark.parametrize("suffix", ["csv", "json"])
    def test_empty_file(self, refused, tmp_path, content, suffix):
        file = tmp_path / f"empty.{suffix}"
        file.write_text(content)
        assert f"empty.{suffix}" in refused("--train_file", file, "--do_train")

    def test_files_of_different_formats(self, refused, write, rows, train_file):
        other = write("other.json", rows)
        assert "other.json" in refused("--train_file", train_file, "--validation_file", other, "--do_train")

    def test_file_of_an_unknown_format(self, refused):
        assert "rows.txt" in refused("--train_file", "rows.txt", "--do_train")

    def test_no_label_column(self, refused, train_file):
        message = refused("--train_file", train_file, "--do_train", "--label_column_name", "topic")
        assert "topic" in message
        assert "text, label" in message

    def test_a_split_that_does_not_exist(self, refused, train_file):
        files = ("--train_file", train_file, "--validation_file", train_file)
        message = refused(*files, "--do_train", "--do_eval", "--validation_split_name", "dev")
        assert message == "--validation_split_name is 'dev', but the data have the splits train, validation"

    def test_a_column_whose_name_has_two_lines(self, refused, write, rows):
        file = write("rows.csv", [{"a\ntext": row["text"]} for row in rows])
        assert "no column label, but a text" in refused("--train_file", file, "--do_train")

    @pytest.mark.parametrize(
        ("option", "value", "said"),
        [
            ("optim_args", "text", "Optimizer: "),
            ("adam_beta1", 5, "Optimizer: Invalid beta parameter"),
            ("lr_scheduler_kwargs", "text", "Schedule of the learning rate: "),
            ("dataloader_persistent_workers", True, "--dataloader_persistent_workers: there are no workers"),
            ("label_names", "label", "--label_names is ['label'], but the labels of the model are called ['labels']"),
            ("label_smoothing_factor", 3, "--label_smoothing_factor is 3.0, but should be from 0 to 1"),
        ],
    )
    def test_options_that_libraries_do_not_take(self, run, train_file, tmp_path, option, value, said):
        line = refusal(run, "--train_file", train_file, "--do_train", f"--{option}", value)
        assert line.startswith(said)
        assert not list(tmp_path.glob("out/*.safetensors"))

    def test_no_text_column(self, refused, train_file):
        message = refused("--train_file", train_file, "--do_train", "--text_column_names", "body")
        assert "body" in message
        assert "text, label" in message

    def test_one_class(self, refused, write, rows):
        file = write("weather.csv", [row for row in rows if row["label"] == "weather"])
        assert "weather" in refused("--train_file", file, "--do_train")

    def test_rows_without_a_label(self, refused, write, rows):
        file = write("gaps.csv", [*rows, {"text": "Who knows", "label": None}])
        assert "train" in refused("--train_file", file, "--do_train")

    def test_label_that_training_lacks(self, refused, write, rows, train_file):
        file = write("other.csv", [*rows, {"text": "A dog barked", "label": "animals"}])
        message = refused("--train_file", train_file, "--validation_file", file, "--do_train", "--do_eval")
        assert "animals" in message
        assert "row 72 of the validation data" in message

    def test_words_for_a_regression(self, refused, train_file):
        assert "weather" in refused("--train_file", train_file, "--do_train", "--do_regression")

    def test_probabilities_of_a_regression(self, refused, write, rows):
        file = write("values.csv", [row | {"label": 0.5} for row in rows])
        assert "--output_probabilities" in refused("--train_file", file, "--do_train", "--output_probabilities")

    def test_metric_that_does_not_exist(self, refused, train_file):
        assert "no-metric" in refused("--train_file", train_file, "--do_train", "--metric_name", "no-metric")

    @pytest.mark.parametrize("override", ["hidden_size=0", "readout=loud", "hiden_size=3", "vocab_size=6"])
    def test_impossible_config(self, refused, train_file, override):
        message = refused("--train_file", train_file, "--do_train", "--config_overrides", override)
        assert override.split("=")[0] in message

    @pytest.mark.slow
    def test_one_line_and_no_traceback(self, tmp_path, train_file):
        arguments = [
            "--train_file",
            train_file,
            "--do_train",
            "--label_column_name",
            "topic",
            "--output_dir",
            tmp_path / "out",
        ]
        ended = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert "Traceback" not in ended.stderr
        assert ended.stderr.splitlines()[-1] == "The train data has no column topic, but text, label"
        assert not (tmp_path / "out").exists()
