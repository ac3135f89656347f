"""Tests of `examples/run_classification.py`, from outside: evaluation with any option and any model."""

import pytest
import run_classification
import torch
from outputs import results
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    T5Config,
    T5ForSequenceClassification,
)

from wave_hf import WaveForSequenceClassification, train_tokenizer

main = run_classification.main


def predictions(folder):
    return (folder / "predict_results.txt").read_text().splitlines()[1:]


@pytest.fixture
def files(train_file):
    return ("--train_file", train_file, "--validation_file", train_file, "--test_file", train_file)


class TestOptions:
    @pytest.mark.slow
    def test_no_row_of_the_evaluation_is_dropped(self, run, files):
        arguments = (*files, "--do_train", "--do_eval", "--do_predict", "--max_steps", 20)
        dropping = ("--dataloader_drop_last", "--per_device_eval_batch_size", 64)
        out, other = run(*arguments, *dropping), run(*arguments, output="other")
        assert results(out)["eval_loss"] == pytest.approx(results(other)["eval_loss"], abs=1e-6)
        assert results(out)["eval_accuracy"] == results(other)["eval_accuracy"]
        assert predictions(out) == predictions(other)
        assert len(predictions(out)) == 72

    def test_loss_alone(self, run, files):
        out = run(*files, "--do_train", "--do_eval", "--max_steps", 1, "--prediction_loss_only")
        assert results(out)["eval_loss"] > 0
        assert "eval_accuracy" not in results(out)

    def test_smoothed_labels_of_one_class(self, run, files):
        out = run(*files, "--do_train", "--do_eval", "--num_train_epochs", 5, "--label_smoothing_factor", 0.1)
        assert results(out)["eval_accuracy"] == 1

    @pytest.mark.parametrize(
        "option",
        [
            ("--batch_eval_metrics",),
            ("--eval_do_concat_batches", "False"),
            ("--prediction_loss_only", "--do_predict"),
            ("--label_smoothing_factor", 0.1, "--do_multi_label"),
            ("--save_strategy", "best"),
        ],
    )
    def test_what_cannot_work_is_refused_before_training(self, refused, files, option):
        assert refused(*files, "--do_train", "--do_eval", *option)

    def test_smoothed_values_are_refused(self, refused, write, rows):
        file = write("values.csv", [row | {"label": i / 7} for i, row in enumerate(rows)])
        message = refused("--train_file", file, "--do_train", "--label_smoothing_factor", 0.1)
        assert "--label_smoothing_factor" in message


class TestOutputs:
    def test_hidden_states_are_left_out(self, run, files):
        arguments = (*files, "--do_train", "--do_eval", "--do_predict", "--num_train_epochs", 5)
        out = run(*arguments, "--config_overrides", "output_hidden_states=true")
        assert results(out)["eval_accuracy"] == 1
        assert len(predictions(out)) == 72

    @pytest.mark.parametrize("network", ["bart", "t5"])
    def test_encoder_decoders(self, run, files, rows, tmp_path, network):
        tokenizer = train_tokenizer([row["text"] for row in rows])
        tokenizer.add_special_tokens({"eos_token": "[SEP]"})
        tokenizer.save_pretrained(tmp_path / network)
        tokens = {
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.sep_token_id,
            "decoder_start_token_id": tokenizer.pad_token_id,
            "d_model": 16,
            "num_labels": 2,
        }
        if network == "t5":
            config = T5Config(**tokens, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
            T5ForSequenceClassification(config).save_pretrained(tmp_path / network)
        else:
            sides = {f"{side}_{size}": 2 for side in ("encoder", "decoder") for size in ("layers", "attention_heads")}
            config = BartConfig(**tokens, **sides, encoder_ffn_dim=16, decoder_ffn_dim=16, forced_eos_token_id=None)
            BartForSequenceClassification(config).save_pretrained(tmp_path / network)
        arguments = ("--model_name_or_path", tmp_path / network, *files, "--max_steps", 1)
        out = run(*arguments, "--do_train", "--do_eval", "--do_predict", new=False)
        assert 0 <= results(out)["eval_accuracy"] <= 1
        assert len(predictions(out)) == 72

    @pytest.mark.slow
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("task", ["--do_eval", "--do_predict"])
    def test_logits_that_are_not_finite_are_refused(self, run, refused, files, task, value):
        trained = run(*files, "--do_train", "--max_steps", 1)
        model = WaveForSequenceClassification.from_pretrained(trained)
        with torch.no_grad():
            model.classifier.weight[0, 0] = value
        model.save_pretrained(trained)
        before = results(trained)
        message = refused("--model_name_or_path", trained, *files[2:], task, new=False)
        assert "not finite" in message
        assert results(trained) == before
        assert not (trained / "predict_results.txt").exists()

    def test_values_that_are_not_finite_are_refused(self, run, refused, write, rows):
        file = write("values.csv", [row | {"label": i / 7} for i, row in enumerate(rows)])
        trained = run("--train_file", file, "--do_train", "--max_steps", 1)
        model = WaveForSequenceClassification.from_pretrained(trained)
        torch.nn.init.constant_(model.classifier.bias, float("nan"))
        model.save_pretrained(trained)
        message = refused("--model_name_or_path", trained, "--validation_file", file, "--do_eval", new=False)
        assert "not finite" in message


@pytest.mark.slow
def test_resume_at_the_last_step_reports_the_loss_of_the_training(run, train_file):
    options = ("--train_file", train_file, "--do_train", "--num_train_epochs", 2, "--save_steps", 5)
    whole = run(*options, output="whole")
    again = run(*options, "--resume_from_checkpoint", whole / "checkpoint-18", output="again")
    assert results(again)["train_loss"] == pytest.approx(results(whole)["train_loss"], rel=1e-6)


def test_best_metric_that_does_not_exist_is_named_beside_those_that_do(run, files):
    options = ("--eval_strategy", "steps", "--eval_steps", 1, "--save_steps", 1, "--load_best_model_at_end")
    with pytest.raises(SystemExit, match=r"--metric_for_best_model: .*eval_speed.*eval_accuracy"):
        run(*files, "--do_train", "--max_steps", 1, *options, "--metric_for_best_model", "speed")
