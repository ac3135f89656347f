"""Which checkpoint a run is resumed from, and what becomes of broken ones."""

import itertools
import logging
import shutil
from pathlib import Path

import pytest
import torch
from damage import STATE_FILE, content, empty, flip_a_bit, halve, write_checkpoint
from transformers import TrainingArguments
from transformers.trainer_utils import rotate_checkpoints

from wave_hf.training.checkpoints import find_checkpoint, find_trainer_checkpoint


class TestComplete:
    def test_no_name_starts_anew(self, run_folder):
        assert find_checkpoint(None, str(run_folder), STATE_FILE) is None

    def test_folder_of_a_run_means_its_last_checkpoint(self, find, run_folder):
        assert find(run_folder) == str(run_folder / "checkpoint-10")

    def test_named_checkpoint_is_used(self, find, run_folder):
        assert find(run_folder / "checkpoint-9") == str(run_folder / "checkpoint-9")

    def test_nothing_is_removed_and_no_warning_given(self, find, run_folder, caplog):
        find(run_folder)
        assert len(list(run_folder.iterdir())) == 3
        assert all(record.levelno < logging.WARNING for record in caplog.records)

    @pytest.mark.parametrize("prefix", ["step_", "epoch_"])
    def test_checkpoints_of_the_loop_without_trainer(self, find, tmp_path, prefix):
        for number in (9, 10):
            write_checkpoint(tmp_path / "loop", f"{prefix}{number}", 7 * number)
        assert find(tmp_path / "loop") == str(tmp_path / "loop" / f"{prefix}10")

    def test_last_one_is_that_of_the_most_steps_whatever_it_is_called(self, find, tmp_path):
        for name, step in {"epoch_1": 50, "step_60": 60, "epoch_2": 100}.items():
            write_checkpoint(tmp_path / "loop", name, step)
        assert find(tmp_path / "loop") == str(tmp_path / "loop" / "epoch_2")

    def test_sharded_weights_and_optimizer_are_folders(self, find, run_folder):
        last = run_folder / "checkpoint-10"
        for name, file in {"pytorch_model_fsdp_0": "model.safetensors", "optimizer_0": "optimizer.pt"}.items():
            (last / file).unlink()
            (last / name).mkdir()
        assert find(run_folder) == str(last)

    def test_deepspeed_keeps_weights_and_optimizer_in_a_folder_of_its_own(self, find, run_folder):
        last = run_folder / "checkpoint-10"
        (last / "global_step10").mkdir()
        (last / "model.safetensors").unlink()
        (last / "optimizer.pt").rename(last / "global_step10" / "zero_pp_rank_0_mp_rank_00_optim_states.pt")
        assert find(run_folder) == str(last)

    def test_files_of_others_are_not_looked_into(self, find, run_folder):
        torch.save(run_folder, run_folder / "checkpoint-10" / "notes.pt")  # weights_only would refuse it
        assert find(run_folder) == str(run_folder / "checkpoint-10")

    def test_model_without_an_optimizer_is_skipped_and_kept(self, find, run_folder):
        (run_folder / "checkpoint-10" / "optimizer.pt").unlink()
        assert find(run_folder) == str(run_folder / "checkpoint-9")
        assert (run_folder / "checkpoint-10").exists()

    def test_models_without_an_optimizer_end_the_run(self, find, run_folder):
        for checkpoint in run_folder.iterdir():
            (checkpoint / "optimizer.pt").unlink()
        with pytest.raises(SystemExit, match=r"checkpoint-10 has no optimizer.*--model_name_or_path"):
            find(run_folder)
        assert len(list(run_folder.iterdir())) == 3

    def test_folder_that_does_not_exist_ends_the_run(self, find, tmp_path):
        with pytest.raises(SystemExit, match="nowhere"):
            find(tmp_path / "nowhere")


class TestCutOff:
    @pytest.mark.parametrize(
        ("file", "damage"),
        [
            *itertools.product([STATE_FILE, "model.safetensors"], [Path.unlink, halve, empty]),
            *itertools.product(["optimizer.pt"], [halve, empty]),
        ],
    )
    def test_is_skipped_and_set_aside_with_a_warning(self, find, run_folder, caplog, file, damage):
        damage(run_folder / "checkpoint-10" / file)
        before = content(run_folder / "checkpoint-10")
        assert find(run_folder) == str(run_folder / "checkpoint-9")
        names = ["_incomplete-checkpoint-10-1", "checkpoint-2", "checkpoint-9"]
        assert sorted(folder.name for folder in run_folder.iterdir()) == names
        assert content(run_folder / names[0]) == before
        (warning,) = (record.message for record in caplog.records if record.levelno == logging.WARNING)
        assert "checkpoint-10 was cut off" in warning
        assert file in warning or "no weights" in warning
        assert names[0] in warning

    def test_is_set_aside_each_time(self, find, run_folder):
        for _ in range(2):
            (run_folder / "checkpoint-10" / STATE_FILE).unlink()
            find(run_folder)
            write_checkpoint(run_folder, "checkpoint-10", 10)
        assert {path.name for path in run_folder.glob("_*")} == {f"_incomplete-checkpoint-10-{i}" for i in (1, 2)}

    @pytest.mark.parametrize("written", [[], ["config.json"], ["config.json", "model.safetensors"]])
    def test_folder_that_was_only_begun_is_set_aside(self, find, run_folder, caplog, written):
        (run_folder / "checkpoint-11").mkdir()
        for name in written:
            (run_folder / "checkpoint-11" / name).write_text("{}")
        assert find(run_folder) == str(run_folder / "checkpoint-10")
        assert "checkpoint-11 was cut off" in caplog.text
        assert not (run_folder / "checkpoint-11").exists()

    @pytest.mark.parametrize("damage", [Path.unlink, empty, halve, flip_a_bit])
    @pytest.mark.parametrize("file", ["rng_state.pth", "random_states_0.pkl"])
    def test_random_states_must_be_whole(self, find, run_folder, file, damage):
        last = run_folder / "checkpoint-10"
        (last / "rng_state.pth").rename(last / file)
        assert find(run_folder) == str(last)
        damage(last / file)
        assert find(run_folder) == str(run_folder / "checkpoint-9")

    @pytest.mark.parametrize("file", ["optimizer.pt", "scheduler.pt"])
    def test_bits_that_changed_are_noticed(self, find, run_folder, file):
        flip_a_bit(run_folder / "checkpoint-10" / file)
        assert find(run_folder) == str(run_folder / "checkpoint-9")

    @pytest.mark.parametrize("file", ["scheduler.pt", "pytorch_model.bin", "rng_state.pth"])
    def test_other_files_of_torch_must_open_too(self, find, run_folder, file):
        shutil.copy(run_folder / "checkpoint-10" / "optimizer.pt", run_folder / "checkpoint-10" / file)
        halve(run_folder / "checkpoint-10" / file)
        assert find(run_folder) == str(run_folder / "checkpoint-9")

    def test_named_one_gives_way_to_the_last_complete_one_before_it(self, find, run_folder):
        (run_folder / "checkpoint-9" / STATE_FILE).unlink()
        assert find(run_folder / "checkpoint-9") == str(run_folder / "checkpoint-2")

    def test_earlier_ones_are_set_aside_as_well(self, find, run_folder):
        halve(run_folder / "checkpoint-2" / "model.safetensors")
        assert find(run_folder) == str(run_folder / "checkpoint-10")
        assert not (run_folder / "checkpoint-2").exists()

    def test_if_all_are_the_run_starts_anew(self, find, run_folder, caplog):
        for checkpoint in run_folder.iterdir():
            halve(checkpoint / "model.safetensors")
        assert find(run_folder) is None
        assert all(folder.name.startswith("_incomplete-") for folder in run_folder.iterdir())
        assert "starting anew" in caplog.text

    def test_is_not_set_aside_in_another_run(self, find, run_folder, tmp_path):
        halve(run_folder / "checkpoint-10" / "model.safetensors")
        assert find(run_folder / "checkpoint-10", tmp_path / "new") == str(run_folder / "checkpoint-9")
        assert (run_folder / "checkpoint-10").exists()

    def test_other_folders_of_the_run_are_not_removed(self, find, run_folder):
        names = {"runs", "checkpoint-best", "checkpoint-10-copy"}
        for name in names:
            (run_folder / name).mkdir()
        find(run_folder)
        assert {folder.name for folder in run_folder.iterdir()} > names


class TestRotation:
    """Trainer's --save_total_limit removes whatever is named like a checkpoint."""

    def find(self, run_folder: Path, resume: str | None) -> str | None:
        options = {"save_total_limit": 1, "resume_from_checkpoint": resume}
        return find_trainer_checkpoint(TrainingArguments(str(run_folder), use_cpu=True, **options))

    @pytest.mark.parametrize("name", ["checkpoint-1", "checkpoint-best", "checkpoint-10-copy"])
    @pytest.mark.parametrize("resume", [True, False])
    def test_folders_that_are_no_checkpoints_are_refused(self, run_folder, name, resume):
        (run_folder / name).mkdir()
        (run_folder / name / "notes.txt").write_text("mine")
        with pytest.raises(SystemExit, match=f"--save_total_limit would remove {run_folder}/{name},"):
            self.find(run_folder, str(run_folder) if resume else None)

    @pytest.fixture
    def half_removed(self, run_folder) -> Path:
        """Return an older checkpoint of whose files a kill left those of a model, while Trainer removed it."""
        for name in ("checkpoint-2", "checkpoint-10"):
            (run_folder / name / "config.json").write_text("{}")
            (run_folder / name / "tokenizer.json").write_text("{}")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", STATE_FILE):
            (run_folder / "checkpoint-2" / name).unlink()
        return run_folder / "checkpoint-2"

    def test_checkpoint_that_was_being_removed_is_set_aside(self, run_folder, half_removed):
        assert self.find(run_folder, str(run_folder)) == str(run_folder / "checkpoint-10")
        assert not half_removed.exists()
        assert (run_folder / "_incomplete-checkpoint-2-1" / "model.safetensors").exists()

    def test_model_with_other_files_than_the_run_is_refused(self, run_folder, half_removed):
        (half_removed / "config.json").write_text('{"mine": true}')
        with pytest.raises(SystemExit, match=f"--save_total_limit would remove {half_removed},"):
            self.find(run_folder, str(run_folder))

    def test_checkpoints_that_were_cut_off_are_no_longer_counted(self, run_folder):
        (run_folder / "checkpoint-10" / STATE_FILE).unlink()
        assert self.find(run_folder, str(run_folder)) == str(run_folder / "checkpoint-9")
        rotate_checkpoints(str(run_folder), save_total_limit=2)
        names = ["_incomplete-checkpoint-10-1", "checkpoint-2", "checkpoint-9"]
        assert sorted(folder.name for folder in run_folder.iterdir()) == names
