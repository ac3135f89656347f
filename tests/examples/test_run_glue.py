"""Tests of `examples/run_glue.py` and `examples/run_glue_no_trainer.py`, from outside: what they read and write."""

import json

import numpy as np
import pytest
import run_glue
import run_glue_no_trainer
from datasets import Dataset, DatasetDict
from huggingface_hub import ModelCard
from outputs import refusal, results
from safetensors.torch import load_file
from tokenizers.pre_tokenizers import ByteLevel
from torch.testing import assert_close
from transformers import AutoConfig, AutoTokenizer, GPT2Tokenizer, RobertaTokenizer, pipeline

from wave_hf.training import data, glue

TRAINER_FLAGS = ("--do_train", "--do_eval")
BYTES = sorted(ByteLevel.alphabet())


@pytest.fixture
def pairs():
    """Return 64 pairs of sentences; those about the same thing have the label 1."""
    things = ["rain", "snow", "soup", "bread"]
    return [
        {"sentence1": f"There is {first} {where}", "sentence2": f"I see {second}", "label": int(first == second)}
        for first in things
        for second in things
        for where in ("today", "here", "outside", "again")
    ]


@pytest.fixture
def pair_file(write, pairs):
    return write("pairs.csv", pairs)


@pytest.fixture
def run(command_line, small_config, tmp_path):
    """Return a function that runs one of the scripts in this process and returns its output folder."""

    def run_script(script, *arguments, output="out", new=True):
        start = ["--config_name", small_config, "--learning_rate", 0.02] if new else []
        quiet = ["--disable_tqdm", "True"] if script is run_glue else []
        command_line("--output_dir", tmp_path / output, *quiet, *start, *arguments)
        script.main()
        return tmp_path / output

    return run_script


@pytest.fixture
def refused(run, tmp_path):
    """Return a function that expects a script to end with one line and without output, and returns the line."""

    def run_refused(*arguments, script=run_glue):
        line = refusal(run, script, *arguments)
        assert not (tmp_path / "out").exists()
        return line

    return run_refused


def predictions(file):
    header, *lines = file.read_text().splitlines()
    assert header == "index\tprediction"
    return [line.split("\t")[1] for line in lines]


class TestTasks:
    def test_metrics_are_those_of_the_benchmark(self):
        predictions, references = np.array([1, 1, 0, 0, 1]), np.array([1, 0, 0, 1, 1])
        assert glue.GLUE_TASKS["rte"].metric(predictions, references) == {"accuracy": 0.6}
        assert glue.GLUE_TASKS["mrpc"].metric(predictions, references) == {
            "accuracy": 0.6,
            "f1": pytest.approx(2 / 3),
        }
        assert glue.GLUE_TASKS["cola"].metric(predictions, references) == {
            "matthews_correlation": pytest.approx(1 / 6)
        }
        ranks = glue.GLUE_TASKS["stsb"].metric(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3]))
        assert ranks == {"pearson": pytest.approx(0.918, abs=1e-3), "spearmanr": pytest.approx(1)}

    def test_every_task_of_glue_is_there(self):
        assert sorted(glue.GLUE_TASKS) == ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli"]

    def test_rows_of_a_task_come_from_the_hub_unless_named(self):
        arguments = glue.GlueArguments(task_name="RTE")
        assert (arguments.dataset_name, arguments.dataset_config_name) == ("nyu-mll/glue", "rte")
        assert glue.GlueArguments(task_name="rte", train_file="a.csv").dataset_name is None

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            (["label", "sentence2", "other", "sentence1"], ["sentence1", "sentence2"]),
            (["a", "label", "b", "c"], ["a", "b"]),
            (["label", "a"], ["a"]),
        ],
    )
    def test_text_columns_of_other_rows_are_guessed(self, columns, expected):
        rows = Dataset.from_dict({column: ["x"] for column in columns} | {"idx": [0]})
        assert glue.guess_text_columns(rows, "train") == expected


class TestTrainer:
    @pytest.mark.slow
    def test_pairs_of_a_task(self, run, pair_file):
        files = ("--train_file", pair_file, "--validation_file", pair_file, "--test_file", pair_file)
        out = run(run_glue, "--task_name", "mrpc", *files, *TRAINER_FLAGS, "--do_predict", "--num_train_epochs", 2)
        assert {"eval_accuracy", "eval_f1", "eval_combined_score", "eval_loss", "train_loss"} <= results(out).keys()
        told = ModelCard.load(out / "README.md").data
        assert {result.dataset_name for result in told.eval_results} == {"GLUE MRPC"}
        assert (told.datasets, told.language) == (["nyu-mll/glue"], ["en"])
        assert set(predictions(out / "predict_results_mrpc.txt")) <= {"equivalent", "not_equivalent"}
        assert AutoConfig.from_pretrained(out).id2label == {0: "not_equivalent", 1: "equivalent"}

    @pytest.mark.slow
    def test_both_sides_of_a_pair_are_read(self, run, pair_file):
        out = run(run_glue, "--task_name", "mrpc", "--train_file", pair_file, "--do_train")
        classify = pipeline("text-classification", str(out))
        scores = [
            classify({"text": "There is rain", "text_pair": pair})["score"] for pair in ("soup", "rain and snow")
        ]
        assert scores[0] != scores[1]

    @pytest.mark.slow
    def test_numbers_of_stsb(self, run, write, pairs):
        file = write("values.csv", [row | {"label": 5.0 * row["label"]} for row in pairs])
        files = ("--train_file", file, "--validation_file", file, "--test_file", file)
        out = run(run_glue, "--task_name", "stsb", *files, *TRAINER_FLAGS, "--do_predict")
        assert {"eval_pearson", "eval_spearmanr"} <= results(out).keys()
        assert all(
            float(prediction) == pytest.approx(2.5, abs=5)
            for prediction in predictions(out / "predict_results_stsb.txt")
        )
        assert AutoConfig.from_pretrained(out).problem_type == "regression"

    def test_labels_of_a_file_may_be_names(self, run, write, pairs):
        named = write("named.csv", [row | {"label": ["not_equivalent", "equivalent"][row["label"]]} for row in pairs])
        out = run(run_glue, "--task_name", "mrpc", "--train_file", named, "--do_train")
        assert AutoConfig.from_pretrained(out).id2label == {0: "not_equivalent", 1: "equivalent"}

    @pytest.mark.slow
    def test_both_validation_sets_of_mnli(self, run, monkeypatch):
        def rows(number, hidden=False):
            sentences = {"premise": ["It rains"] * number, "hypothesis": ["It is wet", "It is dry"] * (number // 2)}
            return Dataset.from_dict(sentences | {"label": [-1 if hidden else row % 3 for row in range(number)]})

        splits = {"train": rows(12), "validation_matched": rows(6), "validation_mismatched": rows(8)}
        splits |= {"test_matched": rows(4, hidden=True), "test_mismatched": rows(2, hidden=True)}
        monkeypatch.setattr(data, "load_raw_datasets", lambda *arguments: DatasetDict(splits))
        out = run(run_glue, "--task_name", "mnli", *TRAINER_FLAGS, "--do_predict")
        assert {"eval_accuracy", "eval_accuracy_mm", "eval_samples"} <= results(out).keys()
        assert len(predictions(out / "predict_results_mnli.txt")) == 4
        assert len(predictions(out / "predict_results_mnli-mm.txt")) == 2
        out = run(run_glue_no_trainer, "--task_name", "mnli", "--num_train_epochs", 1, output="loop")
        assert {"eval_accuracy", "eval_accuracy_mm"} <= results(out).keys()

    @pytest.mark.slow
    def test_own_rows_without_a_task(self, run, write, rows):
        file = write("own.csv", rows)
        files = ("--train_file", file, "--validation_file", file, "--test_file", file)
        out = run(run_glue, *files, *TRAINER_FLAGS, "--do_predict", "--num_train_epochs", 5)
        assert results(out)["eval_accuracy"] == 1
        assert predictions(out / "predict_results_None.txt") == [row["label"] for row in rows]
        (result,) = ModelCard.load(out / "README.md").data.eval_results
        assert (result.dataset_name, result.metric_value) == ("own.csv", 1)


class TestPairsThatAreCompared:
    @pytest.fixture
    def arguments(self, pair_file):
        """Return a function that returns the arguments to train a network which compares the texts of a pair."""
        options = ("--train_file", pair_file, "--do_train", "--config_overrides", "pair_encoding=separate")
        return lambda tokenizer: (*options, "--tokenizer_name", tokenizer)

    def test_token_types_are_asked_for_and_saved(self, run, arguments, tmp_path):
        tokenizer = GPT2Tokenizer(vocab={letter: i for i, letter in enumerate(BYTES)}, merges=[])
        assert "token_type_ids" not in tokenizer("a", "b")
        tokenizer.save_pretrained(tmp_path / "bytes")
        out = run(run_glue, *arguments(tmp_path / "bytes"))
        assert AutoTokenizer.from_pretrained(out)("a", "bc")["token_type_ids"] == [0, 1, 1]
        classify = pipeline("text-classification", str(out))
        assert len({classify({"text": "rain", "text_pair": pair})["score"] for pair in ("rain", "soup")}) == 2

    def test_a_tokenizer_without_token_types_is_refused(self, refused, arguments, tmp_path):
        vocab = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *BYTES])}
        RobertaTokenizer(vocab=vocab, merges=[]).save_pretrained(tmp_path / "roberta")
        message = refused(*arguments(tmp_path / "roberta"))
        assert "pair_encoding=separate" in message
        assert "token type" in message


class TestLoop:
    def test_learns_and_saves_what_from_pretrained_loads(self, run, write, rows):
        file = write("own.csv", rows)
        out = run(run_glue_no_trainer, "--train_file", file, "--validation_file", file, "--num_train_epochs", 5)
        assert results(out)["eval_accuracy"] == 1
        classify = pipeline("text-classification", str(out))
        assert [output["label"] for output in classify([row["text"] for row in rows])] == [
            row["label"] for row in rows
        ]

    def test_resumes_in_the_middle_of_an_epoch_as_if_uninterrupted(self, run, pair_file, small_config):
        files = ("--task_name", "mrpc", "--train_file", pair_file, "--validation_file", pair_file)
        dropout = ("--config_overrides", "hidden_dropout_prob=0.2,token_dropout_prob=0.2")
        arguments = (*files, *dropout, "--num_train_epochs", 2, "--checkpointing_steps", 5)
        whole = run(run_glue_no_trainer, *arguments, output="whole")
        assert sorted(path.name for path in whole.glob("step_*")) == ["step_10", "step_15", "step_5"]
        for checkpoint in ("step_5", "step_10"):  # of 16, 8 in each epoch
            resumed = run(
                run_glue_no_trainer,
                *arguments,
                "--resume_from_checkpoint",
                whole / checkpoint,
                output=f"resumed-{checkpoint}",
            )
            assert_close(
                load_file(resumed / "model.safetensors"), load_file(whole / "model.safetensors"), atol=1e-6, rtol=0
            )

    def test_results_tell_size_seed_and_seconds(self, run, train_file):
        files = ("--train_file", train_file, "--validation_file", train_file)
        found = results(run(run_glue_no_trainer, *files, "--num_train_epochs", 1, "--seed", 3))
        assert found.items() >= {"seed": 3, "world_size": 1}.items()
        assert found["parameters"] > found["parameters_outside_token_table"] > 0
        assert found["train_runtime"] > 0

    def test_metrics_of_each_epoch_are_tracked_and_the_token_is_not(self, run, train_file):
        events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        files = ("--train_file", train_file, "--validation_file", train_file, "--num_train_epochs", 2)
        tracking = ("--with_tracking", "--report_to", "tensorboard", "--hub_token", "hf_secret")
        out = run(run_glue_no_trainer, *files, *tracking)
        tracked = events.EventAccumulator(str(out / "glue")).Reload().Scalars("eval_accuracy")
        assert [event.step for event in tracked] == [9, 18]
        assert tracked[-1].value == pytest.approx(results(out)["eval_accuracy"])
        assert not any(b"hf_secret" in file.read_bytes() for file in out.rglob("*") if file.is_file())

    def test_checkpoint_of_each_epoch(self, run, pair_file):
        files = ("--task_name", "mrpc", "--train_file", pair_file, "--validation_file", pair_file)
        out = run(run_glue_no_trainer, *files, "--num_train_epochs", 2, "--checkpointing_steps", "epoch")
        assert sorted(path.name for path in out.glob("epoch_*")) == ["epoch_1", "epoch_2"]

    def test_saved_tokenizer_truncates_as_the_loop_does(self, run, pair_file):
        files = ("--task_name", "mrpc", "--train_file", pair_file, "--validation_file", pair_file)
        for output in ("first", "second"):  # the second finds its rows in the cache
            out = run(run_glue_no_trainer, *files, "--max_train_steps", 1, "--max_seq_length", 9, output=output)
            assert json.loads((out / "tokenizer.json").read_text())["truncation"]["max_length"] == 9
            assert AutoTokenizer.from_pretrained(out).model_max_length == 9

    def test_steps_instead_of_epochs(self, run, pair_file):
        files = ("--task_name", "mrpc", "--train_file", pair_file, "--validation_file", pair_file)
        options = ("--max_train_steps", 3, "--gradient_accumulation_steps", 2, "--checkpointing_steps", "3")
        out = run(run_glue_no_trainer, *files, *options)
        progress = json.loads((out / "step_3" / "progress.json").read_text())
        assert progress == {"epoch": 0, "batches": 6, "global_step": 3}

    def test_finished_model_is_not_trained_over(self, run, pair_file):
        files = ("--task_name", "mrpc", "--train_file", pair_file, "--max_train_steps", 1)
        run(run_glue_no_trainer, *files)
        with pytest.raises(SystemExit, match="finished model"):
            run(run_glue_no_trainer, *files)

    def test_interval_that_is_none(self, refused, pair_file):
        arguments = ("--train_file", pair_file, "--checkpointing_steps", "often")
        assert "often" in refused(*arguments, script=run_glue_no_trainer)


class TestOwnRows:
    def test_numbers_of_csv_files_are_no_texts(self):
        columns = {
            "idx": ["1", "2"],
            "flag": ["True", "false"],
            "empty": [None, ""],
            "a": ["x", "7"],
            "label": ["0", "1"],
        }
        assert glue.guess_text_columns(Dataset.from_dict(columns), "train") == ["a"]

    @pytest.mark.slow
    def test_whole_floats_are_values_if_regression_is_asked_for(self, run, write, rows):
        file = write("floats.csv", [row | {"label": float(i % 2)} for i, row in enumerate(rows)])
        out = run(run_glue, "--train_file", file, "--do_train", "--max_steps", 1)
        assert AutoConfig.from_pretrained(out).problem_type == "single_label_classification"
        out = run(run_glue, "--train_file", file, "--do_train", "--max_steps", 1, "--do_regression", output="values")
        assert AutoConfig.from_pretrained(out).problem_type == "regression"

    @pytest.mark.slow
    def test_ids_and_names_of_labels_may_be_mixed(self, run, write, pairs):
        names = ["not_equivalent", "1", "equivalent", "0.0"]
        file = write("mixed.csv", [row | {"label": names[i % 4]} for i, row in enumerate(pairs)])
        out = run(run_glue, "--task_name", "mrpc", "--train_file", file, "--do_train", "--max_steps", 1)
        assert AutoConfig.from_pretrained(out).id2label == {0: "not_equivalent", 1: "equivalent"}


class TestWrongInput:
    def test_options_that_the_task_decides(self, refused, pair_file):
        message = refused("--task_name", "mrpc", "--train_file", pair_file, "--do_train", "--do_regression")
        assert "--do_regression" in message
        assert "mrpc" in message

    def test_unknown_task(self, refused, pair_file):
        message = refused("--task_name", "rta", "--train_file", pair_file, "--do_train")
        assert "rta" in message
        assert "rte" in message

    def test_column_of_the_task_is_missing(self, refused, pair_file):
        message = refused("--task_name", "qnli", "--train_file", pair_file, "--do_train")
        assert "question" in message
        assert "sentence1, sentence2, label" in message

    @pytest.mark.parametrize(("task", "label"), [("stsb", "similar"), ("mrpc", "similar"), ("mrpc", 7)])
    def test_label_that_the_task_does_not_have(self, refused, write, pairs, task, label):
        file = write("labels.csv", [*pairs, pairs[0] | {"label": label}])
        message = refused("--task_name", task, "--train_file", file, "--do_train")
        assert "train" in message
        assert str(label) in message

    @pytest.mark.slow
    def test_resumed_run_with_another_config(self, run, pair_file, tmp_path):
        files = ("--task_name", "mrpc", "--train_file", pair_file)
        out = run(run_glue, *files, "--do_train", "--save_steps", 2, "--max_steps", 2)
        overrides = ("--config_overrides", "hidden_size=32")
        with pytest.raises(SystemExit, match=r"hidden_size=16.*hidden_size=32"):
            run(run_glue, *files, "--do_train", *overrides, "--resume_from_checkpoint", out)
