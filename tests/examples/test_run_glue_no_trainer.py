"""Tests of `examples/run_glue_no_trainer.py`, as far as they are not in `test_run_glue.py`: resume and wrong input."""

import json
import shutil

import pytest
from outputs import assert_equal_weights, results
from run_glue_no_trainer import main


@pytest.fixture
def run(command_line, small_config, train_file, tmp_path):
    """Return a function that trains in this process and returns the output folder."""

    def run_script(*arguments, output="out"):
        files = {"train_file": train_file, "validation_file": train_file}
        command_line(*arguments, config_name=small_config, output_dir=tmp_path / output, learning_rate=0.02, **files)
        main()
        return tmp_path / output

    return run_script


class TestResume:
    """Of 18 steps, 9 in each epoch."""

    options = ("--num_train_epochs", 2, "--checkpointing_steps")

    @pytest.fixture
    def whole(self, run):
        return run(*self.options, 3, output="whole")

    @pytest.mark.parametrize("step", [3, 9, 18], ids=["within an epoch", "at the end of an epoch", "at the last step"])
    def test_results_and_weights_are_those_of_the_uninterrupted_run(self, run, whole, step):
        resumed = run(*self.options, 3, "--resume_from_checkpoint", whole / f"step_{step}", output="resumed")
        expected = results(whole)
        assert results(resumed)["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-6)
        assert results(resumed).keys() == expected.keys()
        assert_equal_weights(resumed, whole)

    def test_a_checkpoint_of_the_last_epoch_knows_its_loss(self, run):
        whole = run(*self.options, "epoch", output="whole")
        resumed = run(*self.options, "epoch", "--resume_from_checkpoint", whole / "epoch_2", output="resumed")
        assert results(resumed)["train_loss"] == pytest.approx(results(whole)["train_loss"], rel=1e-6)

    def test_checkpoints_without_losses_are_resumed(self, run, whole, tmp_path):
        old = shutil.copytree(whole / "step_18", tmp_path / "old" / "step_18")
        (old / "losses.json").unlink()
        resumed = run(*self.options, 3, "--resume_from_checkpoint", old, output="resumed")
        assert results(resumed)["eval_accuracy"] == results(whole)["eval_accuracy"]
        assert "train_loss" not in results(resumed)

    def test_the_epoch_that_the_checkpoint_ended_is_evaluated(self, run, whole, caplog):
        caplog.clear()
        caplog.set_level("INFO", logger=main.__module__)
        run(*self.options, 3, "--resume_from_checkpoint", whole / "step_9", output="resumed")
        assert [message.split(":")[0] for message in caplog.messages if message.startswith("epoch ")] == [
            "epoch 1",
            "epoch 2",
        ]


def test_models_that_return_tuples_are_trained(run):
    out = run("--max_train_steps", 1, "--config_overrides", "return_dict=false")
    assert 0 <= results(out)["eval_accuracy"] <= 1


def test_results_are_json_of_numbers(run):
    out = run("--max_train_steps", 1, "--lr_scheduler_type", "cosine", "--mixed_precision", "no")
    assert all(isinstance(value, int | float) for value in json.loads((out / "all_results.json").read_text()).values())


class TestWrongInput:
    @pytest.mark.parametrize(
        "option",
        [
            "max_train_steps",
            "num_train_epochs",
            "gradient_accumulation_steps",
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
        ],
    )
    def test_none_of_what_must_be_at_least_one(self, refused, option):
        assert refused(f"--{option}", 0) == f"Arguments: --{option} is 0, but should be 1 or more"

    @pytest.mark.parametrize(
        ("option", "value"), [("max_grad_norm", "nan"), ("warmup_steps", -1.0), ("weight_decay", -1.0)]
    )
    def test_impossible_numbers(self, refused, option, value):
        assert refused(f"--{option}", value) == f"Arguments: --{option} is {value}, but should be 0 or more"

    def test_an_unknown_tracker(self, refused):
        assert "nobody" in refused("--with_tracking", "--report_to", "nobody")

    @pytest.mark.parametrize("option", [("--lr_scheduler_type", "steep"), ("--mixed_precision", "fp3")])
    def test_unknown_choices(self, run, option, tmp_path, capsys):
        with pytest.raises(SystemExit):
            run(*option)
        errors = capsys.readouterr().err
        assert f"argument {option[0]}/" in errors
        assert f"invalid choice: '{option[1]}'" in errors
        assert not (tmp_path / "out").exists()
