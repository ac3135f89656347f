"""Tests of `examples/run_mlm.py`, from outside: what it reads, writes and refuses."""

import math
from pathlib import Path

import numpy as np
import pytest
import run_classification
import torch
from outputs import assert_equal_weights, results
from run_mlm import main  # noqa: F401 (the fixture `run` calls it)
from safetensors.torch import load_file
from transformers import AutoTokenizer, EvalPrediction, pipeline

from wave_hf.training.masked_lm import score_masked_tokens

KERNEL = ("--config_overrides", "local_kernel_size=5,residual=true,hidden_dropout_prob=0")


@pytest.fixture
def text_file(tmp_path, rows):
    """Return a file of 72 lines, and empty ones between."""
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"{row['text']}\n\n" for row in rows))
    return str(file)


@pytest.mark.slow
def test_masked_words_are_learnt(run, text_file):
    out = run(
        *("--train_file", text_file, "--validation_file", text_file, "--do_train", "--do_eval", "--line_by_line"),
        *("--num_train_epochs", 30, "--learning_rate", 0.05, *KERNEL),
    )
    found = results(out)
    assert found["perplexity"] == pytest.approx(math.exp(found["eval_loss"]))
    assert found["eval_accuracy_masked"] > 0.5
    assert {"eval_accuracy", "eval_accuracy_kept", "eval_accuracy_random"} <= found.keys()
    (best, *_) = pipeline("fill-mask", str(out))("The rain fell and [MASK] it went on")
    assert best["token_str"] == "so"


def test_files(run, train_file):
    out = run("--train_file", train_file, "--do_train", "--do_eval", "--line_by_line", "--max_steps", 1)
    assert {file.name for file in out.iterdir()} >= {"README.md", "model.safetensors", "tokenizer.json"}
    assert results(out).items() >= {"train_samples": 68, "eval_samples": 4}.items()


@pytest.mark.slow
def test_joined_texts_lose_no_token(run, text_file):
    out = run(
        "--train_file",
        text_file,
        "--validation_file",
        text_file,
        "--do_train",
        "--do_eval",
        "--max_steps",
        1,
        "--max_seq_length",
        10,
    )
    tokenizer = AutoTokenizer.from_pretrained(out)
    tokens = sum(len(tokenizer(line)["input_ids"]) for line in Path(text_file).read_text().split("\n")[:-1])
    assert results(out)["eval_samples"] == math.ceil(tokens / 10)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_stream(run, text_file, train_file, suffix):
    file = text_file if suffix == "txt" else train_file
    options = ("--train_file", file, "--validation_file", file, "--do_train", "--do_eval", "--line_by_line")
    out = run(*options, "--streaming", "--max_steps", 3, "--max_eval_samples", 20)
    assert results(out)["perplexity"] > 1
    assert "train_samples" not in results(out)


@pytest.mark.slow
def test_resumed_run_ends_as_the_uninterrupted_one(run, train_file):
    options = ("--train_file", train_file, "--do_train", "--line_by_line", "--num_train_epochs", 2, "--save_steps", 4)
    whole = run(*options, output="whole")
    resumed = run(*options, "--resume_from_checkpoint", whole / "checkpoint-8", output="resumed")
    assert_equal_weights(resumed, whole)


@pytest.mark.slow
def test_classifier_starts_with_the_body_and_the_tokenizer(run, train_file, tmp_path, command_line):
    out = run("--train_file", train_file, "--do_train", "--line_by_line", "--max_steps", 3)
    options = {"model_name_or_path": out, "train_file": train_file, "do_train": True, "max_steps": 1}
    command_line(**options, learning_rate=0.0, output_dir=tmp_path / "classifier", disable_tqdm="True")
    run_classification.main()
    pretrained, classifier = (load_file(folder / "model.safetensors") for folder in (out, tmp_path / "classifier"))
    body = [name for name in pretrained if name.startswith("wave.")]
    assert body
    torch.testing.assert_close({name: classifier[name] for name in body}, {name: pretrained[name] for name in body})
    assert (tmp_path / "classifier" / "tokenizer.json").read_text() == (out / "tokenizer.json").read_text()


def test_perplexity_beyond_a_float_is_infinite(run, train_file):
    overrides = ("--config_overrides", "initializer_range=1000.0")
    out = run("--train_file", train_file, "--do_train", "--do_eval", "--max_steps", 1, *overrides)
    assert 709 < results(out)["eval_loss"] < math.inf
    assert results(out)["perplexity"] == math.inf


def test_models_that_return_hidden_states_are_evaluated(run, train_file):
    overrides = ("--config_overrides", "output_hidden_states=true")
    out = run("--train_file", train_file, "--do_train", "--do_eval", "--max_steps", 1, *overrides)
    assert "eval_accuracy" in results(out)


def test_accuracy_of_each_kind_of_place():
    labels = np.array([[-100, 7, 8, 9, 9]])
    inputs = np.array([[5, 4, 8, 3, 4]])  # 4 is the mask
    predictions = np.array([[5, 7, 8, 3, 3]])
    scores = score_masked_tokens(
        EvalPrediction(predictions=predictions, label_ids=labels, inputs=inputs), mask_token_id=4
    )
    assert scores == {"accuracy": 0.5, "accuracy_masked": 0.5, "accuracy_kept": 1, "accuracy_random": 0}


def test_numbers_are_texts(run, write):
    file = write("numbers.json", [{"text": 1000 + i} for i in range(50)])
    run("--train_file", file, "--do_train", "--max_steps", 1)


class TestWrongInput:
    def test_stream_without_an_end(self, refused, text_file):
        assert "--max_steps" in refused("--train_file", text_file, "--do_train", "--streaming")

    def test_stream_without_validation_rows(self, refused, text_file):
        options = ("--do_train", "--do_eval", "--streaming", "--max_steps", 1)
        assert "--validation_file" in refused("--train_file", text_file, *options)

    @pytest.mark.parametrize("value", [[2, 3], {"a": 1}])
    @pytest.mark.parametrize("options", [(), ("--streaming", "--max_steps", 1)])
    def test_what_is_no_text_is_refused_with_its_row(self, refused, write, rows, value, options):
        file = write("ids.json", [*rows, {"text": value}])
        message = refused("--train_file", file, "--do_train", *options)
        assert "The train data: row 72, column text: " in message

    def test_no_text(self, refused, write):
        assert "text" in refused("--train_file", write("empty.csv", [{"text": " "}]), "--do_train", "--line_by_line")

    @pytest.mark.parametrize("share", [15, 0, -0.1])
    def test_impossible_share_of_masked_tokens(self, refused, train_file, share):
        message = refused("--train_file", train_file, "--do_train", "--mlm_probability", share)
        assert f"--mlm_probability is {float(share)}, but should be above 0 and at most 1" in message

    def test_column_that_does_not_exist(self, refused, train_file):
        assert "no column body" in refused("--train_file", train_file, "--do_train", "--text_column_name", "body")

    def test_tokenizer_without_a_mask(self, run, refused, train_file, tmp_path):
        tokenizer = AutoTokenizer.from_pretrained(run("--train_file", train_file, "--do_train", "--max_steps", 1))
        tokenizer.mask_token = None
        tokenizer.save_pretrained(tmp_path / "maskless")
        arguments = ("--train_file", train_file, "--do_train", "--tokenizer_name", tmp_path / "maskless")
        assert "mask token" in refused(*arguments, output="other")
