"""Tests of `examples/run_classification.py`, from outside: what it reads, writes and refuses."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import run_classification
from outputs import assert_equal_weights, results
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoConfig, GPT2Tokenizer, pipeline

SCRIPT = run_classification.__file__
main = run_classification.main
METRIC = """
import datasets
import evaluate


class RightAnswers(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {"right": sum(map(int.__eq__, map(int, predictions), map(int, references))), "rows": len(predictions)}
"""


def predictions(folder):
    """Return the header and the rows of predict_results.txt."""
    header, *lines = (folder / "predict_results.txt").read_text().splitlines()
    return header.split("\t"), [line.split("\t") for line in lines]


class TestTraining:
    def test_single_label(self, run, write, rows, train_file):
        test_file = write("test.csv", rows[::7])
        out = run(
            *("--train_file", train_file, "--validation_file", train_file, "--test_file", test_file),
            *("--do_train", "--do_eval", "--do_predict", "--num_train_epochs", 5),
        )
        assert results(out)["eval_accuracy"] == 1
        header, lines = predictions(out)
        assert header == ["index", "prediction"]
        assert lines == [[str(i), row["label"]] for i, row in enumerate(rows[::7])]
        assert AutoConfig.from_pretrained(out).problem_type == "single_label_classification"

    def test_files(self, run, train_file):
        out = run("--train_file", train_file, "--do_train", "--do_eval", "--max_steps", 1)
        assert {file.name for file in out.iterdir()} >= {
            "README.md",
            "all_results.json",
            "config.json",
            "eval_results.json",
            "model.safetensors",
            "tokenizer.json",
            "train_results.json",
            "trainer_state.json",
        }
        assert results(out).items() >= {"train_samples": 68, "eval_samples": 4, "world_size": 1, "seed": 42}.items()
        config = AutoConfig.from_pretrained(out)
        token_table = config.vocab_size * config.hidden_size
        assert results(out)["parameters"] - results(out)["parameters_outside_token_table"] == token_table

    def test_card_names_the_data_the_labels_and_the_command_without_its_secrets(self, run, train_file):
        tokens = ("--token", "hf_of_the_model", "--hub_token=hf_of_the_push")
        card = (run("--train_file", train_file, "--do_train", "--max_steps", 1, *tokens) / "README.md").read_text()
        for part in ("train.csv", "kitchen, weather", "--do_train --max_steps 1 --token TOKEN --hub_token=TOKEN"):
            assert part in card
        assert "hf_of" not in card

    @pytest.mark.slow
    def test_saved_folder_works_in_a_pipeline(self, run, train_file):
        out = run("--train_file", train_file, "--do_train", "--num_train_epochs", 5)
        assert pipeline("text-classification", str(out))("Much rain fell")[0]["label"] == "weather"

    @pytest.mark.slow
    def test_multi_label(self, run, write, rows):
        topics = [row | {"label": [row["label"], "long"] if "went" in row["text"] else [row["label"]]} for row in rows]
        topics.append({"text": "", "label": []})
        file = write("topics.json", topics)
        out = run(
            *("--train_file", file, "--validation_file", file, "--test_file", file, "--do_train", "--do_eval"),
            *("--do_predict", "--num_train_epochs", 30, "--output_probabilities"),
        )
        assert results(out)["eval_f1"] > 0.95
        header, lines = predictions(out)
        assert header == ["index", "prediction", "kitchen", "long", "weather"]
        for _, names, *probabilities in lines:
            likely = [
                name for name, probability in zip(header[2:], probabilities, strict=True) if float(probability) > 0.5
            ]
            assert names == ",".join(likely)
        assert lines[3][1] == "long,weather"

    @pytest.mark.slow
    def test_regression(self, run, write, rows):
        file = write("values.csv", [row | {"label": 1.5 if row["label"] == "weather" else -0.5} for row in rows])
        out = run(
            *("--train_file", file, "--validation_file", file, "--test_file", file, "--do_train", "--do_eval"),
            *("--do_predict", "--num_train_epochs", 15),
        )
        assert results(out)["eval_mse"] < 0.2
        values = [line[1] for line in predictions(out)[1]]
        assert all(value == f"{float(value):.3f}" for value in values)
        assert float(values[0]) == pytest.approx(1.5, abs=0.6)

    def test_whole_numbers_are_values_if_regression_is_asked_for(self, run, write, rows):
        file = write("stars.csv", [row | {"label": len(row["label"])} for row in rows])
        out = run("--train_file", file, "--do_train", "--do_regression", "--max_steps", 1)
        assert AutoConfig.from_pretrained(out).num_labels == 1

    def test_whole_numbers_are_classes_in_their_order(self, run, write, rows):
        file = write("numbers.csv", [row | {"label": i % 11} for i, row in enumerate(rows)])
        out = run("--train_file", file, "--do_train", "--max_steps", 1)
        assert list(AutoConfig.from_pretrained(out).id2label.values()) == [str(i) for i in range(11)]

    def test_missing_texts_are_trained_on_as_empty(self, run, write, rows):
        file = write("gaps.json", [*rows, {"text": None, "label": "weather"}, {"text": "", "label": "kitchen"}])
        assert results(run("--train_file", file, "--do_train", "--max_steps", 1))["train_samples"] == 74

    @pytest.mark.slow
    def test_several_text_columns(self, run, write, rows):
        pairs = [{"question": "Where?", "answer": row["text"], "place": row["label"]} for row in rows]
        file = write("pairs.csv", pairs)
        out = run(
            *("--train_file", file, "--test_file", file, "--text_column_names", "question,answer"),
            *("--label_column_name", "place", "--do_train", "--do_predict", "--num_train_epochs", 5),
        )
        assert [line[1] for line in predictions(out)[1]] == [row["label"] for row in rows]

    def test_sentence_is_a_text_column(self, run, write, rows):
        file = write("sentences.csv", [{"sentence": row["text"], "label": row["label"]} for row in rows])
        assert results(run("--train_file", file, "--do_train", "--max_steps", 1))["train_samples"] == 72

    def test_defaults_of_the_recipe_are_told(self, run, small_config, train_file, caplog):
        (Path(small_config) / "training_args.json").write_text('{"max_steps": 3, "learning_rate": 9}')
        assert results(run("--train_file", train_file, "--do_train"))["epoch"] == pytest.approx(1 / 3)
        assert f"Training defaults of {small_config}: max_steps=3, learning_rate=9" in caplog.text

    def test_held_out_rows(self, run, train_file, caplog):
        out = run(
            *("--train_file", train_file, "--do_train", "--do_eval", "--num_train_epochs", 5),
            *("--validation_split_percentage", 25),
        )
        assert (results(out)["train_samples"], results(out)["eval_samples"]) == (54, 18)
        assert "evaluating on 18 of the 72 training rows" in caplog.text
        again = run(
            *("--model_name_or_path", out, "--train_file", train_file, "--do_eval", "--seed", 1),
            *("--validation_split_percentage", 25),
            output="again",
            new=False,
        )
        assert results(again)["eval_loss"] == pytest.approx(results(out)["eval_loss"], abs=1e-6)

    def test_limits(self, run, train_file):
        out = run(
            *("--train_file", train_file, "--validation_file", train_file, "--test_file", train_file, "--do_train"),
            *("--do_eval", "--do_predict", "--max_steps", 1, "--max_train_samples", 10, "--max_eval_samples", 9),
            *("--max_predict_samples", 8, "--shuffle_train_dataset", "--pad_to_max_length"),
        )
        assert (results(out)["train_samples"], results(out)["eval_samples"], len(predictions(out)[1])) == (10, 9, 8)

    def test_best_model_is_kept(self, run, train_file):
        out = run(
            *("--train_file", train_file, "--validation_file", train_file, "--do_train", "--num_train_epochs", 3),
            *("--eval_strategy", "epoch", "--save_strategy", "epoch", "--load_best_model_at_end"),
            *("--metric_for_best_model", "accuracy", "--save_total_limit", 1),
        )
        state = json.loads((out / "trainer_state.json").read_text())
        assert state["best_metric"] == results(out)["eval_accuracy"]

    def test_metric_of_the_evaluate_library(self, run, train_file, tmp_path):
        script = tmp_path / "right_answers.py"
        script.write_text(METRIC)
        out = run(
            *("--train_file", train_file, "--validation_file", train_file, "--do_train", "--do_eval"),
            *("--num_train_epochs", 5, "--metric_name", script),
        )
        assert (results(out)["eval_right"], results(out)["eval_rows"], results(out)["eval_combined_score"]) == (
            72,
        ) * 3

    def test_arguments_in_a_json_file(self, command_line, small_config, train_file, tmp_path):
        arguments = {"config_name": small_config, "train_file": train_file, "do_train": True, "max_steps": 1}
        file = tmp_path / "arguments.json"
        file.write_text(json.dumps(arguments | {"output_dir": str(tmp_path / "out"), "disable_tqdm": True}))
        command_line(file)
        run_classification.main()
        assert results(tmp_path / "out")["train_samples"] == 72

    @pytest.mark.slow
    def test_tokenizer_of_another_model(self, run, train_file):
        first = run("--train_file", train_file, "--do_train", "--max_steps", 1)
        second = run(
            *("--train_file", train_file, "--do_train", "--max_steps", 1, "--tokenizer_name", first),
            *("--config_overrides", "vocab_size=1000"),
            output="second",
        )
        assert (second / "tokenizer.json").read_text() == (first / "tokenizer.json").read_text()
        assert AutoConfig.from_pretrained(second).vocab_size == AutoConfig.from_pretrained(first).vocab_size

    def test_tokenizer_of_bytes_that_has_no_padding(self, run, train_file, tmp_path):
        alphabet = sorted(ByteLevel.alphabet())
        GPT2Tokenizer(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]).save_pretrained(
            tmp_path / "bytes"
        )
        out = run(
            *("--train_file", train_file, "--validation_file", train_file, "--do_train", "--do_eval"),
            *("--num_train_epochs", 10, "--tokenizer_name", tmp_path / "bytes"),
        )
        assert results(out)["eval_accuracy"] > 0.9
        assert pipeline("text-classification", str(out))(["rain", "Much rain fell"], batch_size=2)


class TestResume:
    @pytest.fixture
    def train(self, run, train_file):
        def train(output, *arguments):
            options = ("--num_train_epochs", 2, "--per_device_train_batch_size", 8, "--save_steps", 3)
            return run("--train_file", train_file, "--do_train", *options, *arguments, output=output)

        return train

    @pytest.mark.slow
    @pytest.mark.parametrize("step", [6, 9])  # within the first epoch of 9 steps, and at its end
    def test_resumed_run_ends_as_the_uninterrupted_one(self, train, step):
        whole = train("whole")
        resumed = train("resumed", "--resume_from_checkpoint", whole / f"checkpoint-{step}")
        assert_equal_weights(resumed, whole)

    @pytest.mark.slow
    def test_finished_model_is_not_trained_over(self, train, refused, train_file):
        out = train("out")
        assert "finished model" in refused("--train_file", train_file, "--do_train")
        train("out", "--resume_from_checkpoint", out / "checkpoint-3")

    def test_unfinished_run_names_the_flag_that_continues_it(self, train, refused, train_file):
        out = train("out")
        (out / "model.safetensors").unlink()
        message = refused("--train_file", train_file, "--do_train")
        assert f"--resume_from_checkpoint {out}" in message

    def test_checkpoint_that_does_not_exist(self, refused, train_file):
        assert "checkpoint-7" in refused(
            "--train_file", train_file, "--do_train", "--resume_from_checkpoint", "checkpoint-7"
        )


class TestCheckpoint:
    @pytest.fixture
    def trained(self, run, train_file):
        return run("--train_file", train_file, "--do_train", "--num_train_epochs", 5)

    @pytest.mark.slow
    def test_evaluate_and_predict_in_the_models_own_folder(self, run, trained, train_file, write, rows):
        card = (trained / "README.md").read_text()
        unlabelled = write("new.csv", [{"text": row["text"]} for row in rows])
        run(
            *("--model_name_or_path", trained, "--validation_file", train_file, "--test_file", unlabelled),
            *("--do_eval", "--do_predict"),
            new=False,
        )
        assert results(trained).items() >= {"eval_accuracy": 1, "train_samples": 72}.items()
        assert [line[1] for line in predictions(trained)[1]] == [row["label"] for row in rows]
        assert (trained / "README.md").read_text() == card

    @pytest.mark.slow
    def test_predictions_are_those_of_a_pipeline(self, run, trained, write, rows):
        texts = [row["text"] for row in rows] + ["None", "NA", "", "x" * 3000, "soup " * 500, "snow and rice"]
        file = write("new.csv", [{"text": text} for text in texts])
        arguments = ("--model_name_or_path", trained, "--test_file", file, "--do_predict", "--output_probabilities")
        run(*arguments, "--max_seq_length", 50, new=False)
        header, lines = predictions(trained)
        classify = pipeline("text-classification", str(trained), top_k=None)
        outputs = classify(texts, truncation=True, max_length=50)
        for output, (_, prediction, *probabilities) in zip(outputs, lines, strict=True):
            expected = {score["label"]: score["score"] for score in output}
            assert prediction == max(expected, key=expected.get)
            given = dict(zip(header[2:], map(float, probabilities), strict=True))
            assert given == pytest.approx(expected, abs=1e-5)
            assert math.fsum(given.values()) == pytest.approx(1, abs=1e-5)

    @pytest.mark.slow
    def test_missing_texts_are_predicted_as_empty(self, run, trained, write):
        file = write("new.json", [{"text": None}, {"text": ""}, {"text": "rain"}])
        run("--model_name_or_path", trained, "--test_file", file, "--do_predict", "--output_probabilities", new=False)
        lines = predictions(trained)[1]
        assert len(lines) == 3
        assert lines[0][1:] == lines[1][1:] != lines[2][1:]

    def test_hidden_labels_are_ignored(self, run, trained, write):
        file = write("new.json", [{"text": "rain", "label": None}])
        run("--model_name_or_path", trained, "--test_file", file, "--do_predict", new=False)
        assert predictions(trained)[1] == [["0", "weather"]]

    @pytest.mark.slow
    def test_continued_training_keeps_the_label_ids(self, run, trained, write, rows):
        config = json.loads((trained / "config.json").read_text())
        config |= {"id2label": {"0": "weather", "1": "kitchen"}, "label2id": {"weather": 0, "kitchen": 1}}
        (trained / "config.json").write_text(json.dumps(config))
        file = write("more.csv", rows)
        more = run(
            *("--model_name_or_path", trained, "--train_file", file, "--do_train", "--max_steps", 1),
            output="more",
            new=False,
        )
        assert AutoConfig.from_pretrained(more).label2id == {"weather": 0, "kitchen": 1}
        assert (more / "tokenizer.json").read_text() == (trained / "tokenizer.json").read_text()

    @pytest.mark.slow
    def test_another_number_of_labels(self, run, refused, trained, write, rows):
        file = write("more.csv", [*rows, {"text": "A dog barked", "label": "animals"}])
        arguments = ("--model_name_or_path", trained, "--train_file", file, "--do_train", "--max_steps", 1)
        assert "ignore_mismatched_sizes" in refused(*arguments, output="outside", new=False)
        more = run(*arguments, "--ignore_mismatched_sizes", output="more", new=False)
        assert AutoConfig.from_pretrained(more).num_labels == 3

    @pytest.mark.slow
    def test_tokenizer_larger_than_the_token_table(self, run, refused, trained, write, rows):
        file = write("more.csv", [row | {"text": f"{row['text']} {i} {i * i}"} for i, row in enumerate(rows)])
        larger = run(
            "--train_file",
            file,
            "--do_train",
            "--max_steps",
            1,
            "--config_overrides",
            "vocab_size=1000",
            output="larger",
        )
        arguments = ("--model_name_or_path", trained, "--tokenizer_name", larger, "--train_file", file, "--do_train")
        assert f"Tokenizer {larger}" in refused(*arguments, output="outside", new=False)

    @pytest.mark.slow
    def test_label_the_model_does_not_know(self, refused, trained, write):
        file = write("new.csv", [{"text": "A dog barked", "label": "animals"}])
        assert "animals" in refused("--model_name_or_path", trained, "--validation_file", file, "--do_eval", new=False)


@pytest.mark.slow
def test_without_data_and_config_the_default_recipe_learns_the_documentation_corpus(tmp_path):
    out = tmp_path / "out"
    limits = ["--max_train_samples", "2000", "--max_eval_samples", "200", "--max_steps", "150"]
    subprocess.run([sys.executable, SCRIPT, "--do_train", "--do_eval", "--output_dir", out, *limits], check=True)
    config = AutoConfig.from_pretrained(out)
    assert results(out)["eval_accuracy"] > 1.2 / config.num_labels
    assert config.model_type == "wave_network"
