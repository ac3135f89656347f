"""Resuming from outside: a run whose checkpoints are cut off ends as the uninterrupted one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import run_classification
import torch
from damage import STATE_FILE, halve
from disks import small_disk
from outputs import weights

from wave_hf.training.checkpoints import inspect_checkpoint


class TestRun:
    @pytest.fixture
    def train(self, command_line, small_config, train_file, tmp_path) -> Callable[..., Path]:
        def train(output: str, *arguments: Any) -> Path:
            out = tmp_path / output
            options = ("--config_name", small_config, "--train_file", train_file, "--learning_rate", 0.02, "--use_cpu")
            steps = ("--num_train_epochs", 2, "--per_device_train_batch_size", 8, "--save_steps", 3)
            command_line("--do_train", "--output_dir", out, "--disable_tqdm", "True", *options, *steps, *arguments)
            run_classification.main()
            return out

        return train

    @pytest.fixture
    def cut_off(self, train) -> tuple[dict[str, torch.Tensor], Path]:
        """Return the final weights of a run and its folder, in which now its last checkpoint is cut off."""
        whole = train("out")
        final = weights(whole)
        (whole / "model.safetensors").unlink()
        halve(whole / "checkpoint-18" / "model.safetensors")
        return final, whole

    @pytest.mark.slow
    def test_ends_as_the_uninterrupted_one(self, train, cut_off, caplog):
        final, out = cut_off
        train("out", "--resume_from_checkpoint", out)
        torch.testing.assert_close(weights(out), final, atol=1e-6, rtol=0)
        assert "checkpoint-18 was cut off" in caplog.text
        assert "Resuming from" in caplog.text
        assert "checkpoint-15" in caplog.text.split("Resuming from")[1].splitlines()[0]

    @pytest.mark.slow
    def test_without_a_complete_checkpoint_trains_from_the_start(self, train, cut_off, caplog):
        final, out = cut_off
        for checkpoint in out.glob("checkpoint-*"):
            (checkpoint / STATE_FILE).unlink()
        train("out", "--resume_from_checkpoint", out)
        torch.testing.assert_close(weights(out), final, atol=1e-6, rtol=0)
        assert "starting anew" in caplog.text

    @pytest.mark.slow
    def test_limit_of_checkpoints_counts_complete_ones(self, train, cut_off):
        _, out = cut_off
        # The newest checkpoint, 18, is broken: counted, it would leave room for but one other.
        train("out", "--resume_from_checkpoint", out, "--save_total_limit", 2, "--save_steps", 16, "--max_steps", 16)
        assert {folder.name for folder in out.glob("checkpoint-*")} == {"checkpoint-15", "checkpoint-16"}

    @pytest.mark.slow
    def test_best_checkpoint_that_is_cut_off_is_not_loaded(self, train, rows, write):
        # With the greatest loss for the best, an early checkpoint is the best one.
        best = ("--validation_file", write("validation.csv", rows), "--do_eval", "--eval_strategy", "steps")
        best += ("--eval_steps", 3, "--load_best_model_at_end", "--metric_for_best_model", "eval_loss")
        out = train("out", *best, "--greater_is_better", "True")
        best_checkpoint = Path(json.loads((out / "checkpoint-18" / STATE_FILE).read_text())["best_model_checkpoint"])
        assert best_checkpoint.name != "checkpoint-18"
        last = weights(out / "checkpoint-18")
        (out / "model.safetensors").unlink()
        halve(best_checkpoint / "model.safetensors")
        train("out", *best, "--greater_is_better", "True", "--resume_from_checkpoint", out)
        torch.testing.assert_close(weights(out), last, atol=1e-6, rtol=0)

    def test_full_disk_ends_the_run_with_one_line_and_keeps_what_is_complete(self, train, tmp_path):
        with small_disk(tmp_path / "disk", kilobytes=400) as disk:
            with pytest.raises(SystemExit, match=f"^{disk}/out: no space is left on the disk") as error:
                train("disk/out", "--save_steps", 1)
            assert "\n" not in error.value.code
            assert inspect_checkpoint(disk / "out" / "checkpoint-1", STATE_FILE).is_complete
