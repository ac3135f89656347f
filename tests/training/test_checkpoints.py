"""Which checkpoint a run is resumed from, and what becomes of broken ones."""

import errno
import io
import itertools
import json
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_classification
import torch
from disks import small_disk
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments
from transformers.trainer_utils import rotate_checkpoints

from wave_hf import WaveConfig, WaveModel, train_tokenizer
from wave_hf.training.checkpoints import (
    check_same_network,
    find_checkpoint,
    find_trainer_checkpoint,
    inspect_checkpoint,
)

STATE_FILE = "trainer_state.json"


def write_checkpoint(run_folder: Path, name: str, step: int) -> Path:
    """Write the files that tell whether a checkpoint is complete, and which step it is of."""
    folder = run_folder / name
    folder.mkdir(parents=True)
    save_file({"weight": torch.ones(100)}, folder / "model.safetensors")
    torch.save({"state": {0: torch.ones(100)}}, folder / "optimizer.pt")
    torch.save({"last_epoch": 3}, folder / "scheduler.pt")
    torch.save({"cpu": torch.get_rng_state(), "numpy": np.random.get_state()}, folder / "rng_state.pth")
    (folder / STATE_FILE).write_text(json.dumps({"global_step": step}))
    return folder


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """Return the folder of a run with checkpoints at steps 2, 9 and 10, in whose order 10 is last."""
    folder = tmp_path / "run"
    for step in (9, 10, 2):
        write_checkpoint(folder, f"checkpoint-{step}", step)
    return folder


@pytest.fixture
def find(run_folder, caplog) -> Callable[..., str | None]:
    """Return a function that finds the checkpoint of a name; the run's folder is another one if it is given."""

    def find(name: Any, other_run_folder: Path = run_folder) -> str | None:
        with caplog.at_level(logging.INFO, "wave_hf"):
            return find_checkpoint(str(name), str(other_run_folder), STATE_FILE)

    return find


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
        (warning,) = warnings(caplog)
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


class TestForeign:
    """Folders that are named like checkpoints, but that this script did not write."""

    @staticmethod
    def notes(folder: Path) -> None:
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")

    @staticmethod
    def notes_beside_a_config(folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "notes.json").write_text("{}")

    @staticmethod
    def checkpoint_of_the_loop(folder: Path) -> None:
        write_checkpoint(folder.parent, folder.name, 11)
        (folder / STATE_FILE).rename(folder / "progress.json")

    @staticmethod
    def model(folder: Path) -> None:
        WaveModel(WaveConfig(vocab_size=9, hidden_size=4)).save_pretrained(folder)
        train_tokenizer(["a wave"]).save_pretrained(folder)

    @staticmethod
    def state_of_another_program(folder: Path) -> None:
        write_checkpoint(folder.parent, folder.name, 11)
        (folder / STATE_FILE).write_text('{"step": 11}')

    makers = [notes, notes_beside_a_config, checkpoint_of_the_loop, model, state_of_another_program]

    @pytest.mark.parametrize("make", makers)
    def test_are_skipped_with_a_warning_and_stay_as_they_are(self, find, run_folder, caplog, make):
        foreign = run_folder / "checkpoint-11"
        make(foreign)
        before = content(foreign)
        assert find(run_folder) == str(run_folder / "checkpoint-10")
        assert content(foreign) == before
        (warning,) = warnings(caplog)
        assert "checkpoint-11 is skipped" in warning
        assert STATE_FILE in warning

    @pytest.mark.parametrize("make", makers)
    def test_end_the_run_if_they_are_named(self, find, run_folder, make):
        make(run_folder / "checkpoint-11")
        with pytest.raises(SystemExit, match=rf"checkpoint-11 has .*{STATE_FILE}"):
            find(run_folder / "checkpoint-11")

    def test_files_are_no_checkpoints(self, find, run_folder, caplog):
        (run_folder / "checkpoint-11").write_text("mine")
        assert find(run_folder) == str(run_folder / "checkpoint-10")
        assert not warnings(caplog)

    def test_links_that_lead_nowhere_prove_nothing(self, find, run_folder, caplog):
        file = run_folder / "checkpoint-10" / "model.safetensors"
        file.unlink()
        file.symlink_to("nowhere")
        assert find(run_folder) == str(run_folder / "checkpoint-9")
        assert "checkpoint-10 is skipped" in caplog.text

    @pytest.mark.parametrize("name", ["step_11", "epoch_11"])
    @pytest.mark.parametrize("rest", [[], ["model.safetensors"], ["model.safetensors", "optimizer.bin"]])
    def test_unfinished_checkpoints_of_the_other_script_stay_as_they_are(self, find, run_folder, name, rest):
        (run_folder / name).mkdir()
        for file in rest:
            (run_folder / name / file).touch()
        assert find(run_folder) == str(run_folder / "checkpoint-10")
        assert set(content(run_folder / name)) == set(rest)

    @pytest.mark.parametrize("name", ["notes.bin", "my_model.safetensors", "my_optimizer.pt", "optimizer_notes.txt"])
    def test_file_in_a_complete_checkpoint_does_not_matter(self, find, run_folder, name):
        (run_folder / "checkpoint-10" / name).write_text("mine")
        assert find(run_folder) == str(run_folder / "checkpoint-10")


class TestUnreadable:
    """A file that cannot be read proves nothing: the run ends, and all folders stay as they are."""

    parts = [STATE_FILE, "model.safetensors", "optimizer.pt", "rng_state.pth", ""]

    def refuse(self, find, run_folder, name):
        before = sorted(run_folder.rglob("*"))
        with pytest.raises(SystemExit, match=f"^--resume_from_checkpoint: .*{run_folder}/checkpoint-{name}") as error:
            find(run_folder)
        assert "\n" not in error.value.code
        assert sorted(run_folder.rglob("*")) == before

    @pytest.mark.parametrize("number", [2, 10])
    @pytest.mark.parametrize("part", parts)
    def test_input_and_output_error(self, find, run_folder, part, number):
        path = run_folder / f"checkpoint-{number}" / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(path)  # opening it raises an OSError: too many levels of symbolic links
        self.refuse(find, run_folder, number)

    @pytest.mark.parametrize("part", parts[:-1])
    def test_file_of_another_user(self, find, run_folder, monkeypatch, part):
        file = run_folder / "checkpoint-10" / part

        def open_for_a_user(path: Any, *args: Any, **options: Any) -> Any:
            if str(path) == str(file):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return builtin_open(path, *args, **options)

        builtin_open = io.open
        monkeypatch.setattr(io, "open", open_for_a_user)
        self.refuse(find, run_folder, 10)


class TestAnyFolder:
    """Whatever lies in the folder of a run: no file is lost, and the end is a checkpoint, a new start or one line."""

    trainer = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "config.json", STATE_FILE)
    loop = ("model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl", "progress.json")
    others = ("tokenizer.json", "modeling_wave.py", "training_args.bin", "notes.txt", "notes.bin", "notes.json")

    def fill(self, folder: Path, rng: random.Random) -> None:
        """Write some files of a checkpoint, of either script or none, and damage some of them."""
        folder.mkdir()
        mixed = rng.sample(self.trainer + self.loop + self.others, rng.randrange(9))
        for name in rng.choice([self.trainer, self.loop, mixed]):
            if name.endswith(".safetensors"):
                save_file({"weight": torch.ones(9)}, folder / name)
            elif name.endswith((".pt", ".pth", ".bin", ".pkl")):
                torch.save({"state": torch.ones(9)}, folder / name)
            else:
                (folder / name).write_text(json.dumps({"global_step": rng.randrange(9)}))
            if rng.random() < 0.1:
                damage = rng.choice([Path.unlink, halve, empty, flip_a_bit, lambda file: file.write_text("[]")])
                damage(folder / name)
            elif rng.random() < 0.02:
                (folder / name).unlink()
                (folder / name).symlink_to(folder / name)

    @pytest.mark.parametrize("seed", range(int(os.environ.get("FUZZ_CASES", 100))))
    def test_is_safe(self, tmp_path, seed):
        rng = random.Random(seed)
        kinds = ["checkpoint-", "step_", "epoch_", "_incomplete-checkpoint-", "notes-"]
        for kind, number in rng.sample(list(itertools.product(kinds, range(1, 4))), rng.randrange(1, 5)):
            self.fill(tmp_path / f"{kind}{number}", rng)
        files = sorted(content(tmp_path).values())
        name = rng.choice([tmp_path, *sorted(tmp_path.iterdir())])
        try:
            found = find_checkpoint(str(name), str(tmp_path), rng.choice([STATE_FILE, "progress.json"]))
            assert found is None or (Path(found) / "model.safetensors").exists()
        except SystemExit as end:
            line = str(end.code)
            assert "\n" not in line
        assert sorted(content(tmp_path).values()) == files


class TestRotation:
    """Trainer's --save_total_limit removes whatever is named like a checkpoint."""

    def find(self, run_folder: Path, resume: str | None) -> str | None:
        options = {"save_total_limit": 1, "resume_from_checkpoint": resume}
        return find_trainer_checkpoint(TrainingArguments(str(run_folder), use_cpu=True, **options))

    @pytest.mark.parametrize("name", ["checkpoint-1", "checkpoint-best", "checkpoint-10-copy"])
    @pytest.mark.parametrize("resume", [True, False])
    def test_folders_that_are_no_checkpoints_are_refused(self, run_folder, name, resume):
        TestForeign.notes(run_folder / name)
        with pytest.raises(SystemExit, match=f"--save_total_limit would remove {run_folder}/{name},"):
            self.find(run_folder, str(run_folder) if resume else None)

    def test_checkpoints_that_were_cut_off_are_no_longer_counted(self, run_folder):
        (run_folder / "checkpoint-10" / STATE_FILE).unlink()
        assert self.find(run_folder, str(run_folder)) == str(run_folder / "checkpoint-9")
        rotate_checkpoints(str(run_folder), save_total_limit=2)
        names = ["_incomplete-checkpoint-10-1", "checkpoint-2", "checkpoint-9"]
        assert sorted(folder.name for folder in run_folder.iterdir()) == names


class TestSameNetwork:
    @pytest.fixture
    def checkpoint(self, tmp_path) -> str:
        WaveConfig(hidden_size=16).save_pretrained(tmp_path)
        return str(tmp_path)

    def test_difference_is_named(self, checkpoint):
        with pytest.raises(SystemExit, match="hidden_size=16, but this run has hidden_size=8"):
            check_same_network(WaveConfig(hidden_size=8), checkpoint)

    def test_same_config(self, checkpoint):
        check_same_network(WaveConfig(hidden_size=16, dtype="float32"), checkpoint)

    def test_code_of_a_checkpoint_is_not_run_nor_asked_for(self, checkpoint, monkeypatch):
        monkeypatch.setattr("builtins.input", lambda question: pytest.fail("there is nobody to ask"))
        file = Path(checkpoint, "config.json")
        file.write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}))
        with pytest.raises(SystemExit, match="was trained with model_type='mine'"):
            check_same_network(WaveConfig(), checkpoint)

    def test_damaged_config_is_named(self, checkpoint):
        halve(Path(checkpoint, "config.json"))
        with pytest.raises(SystemExit, match=f"^Config of {checkpoint}: ") as error:
            check_same_network(WaveConfig(), checkpoint)
        assert "\n" not in error.value.code


class TestRun:
    """The same from outside: a run resumed where checkpoints are cut off."""

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
        final = load_file(whole / "model.safetensors")
        (whole / "model.safetensors").unlink()
        halve(whole / "checkpoint-18" / "model.safetensors")
        return final, whole

    def test_ends_as_the_uninterrupted_one(self, train, cut_off, caplog):
        final, out = cut_off
        train("out", "--resume_from_checkpoint", out)
        torch.testing.assert_close(load_file(out / "model.safetensors"), final, atol=1e-6, rtol=0)
        assert "checkpoint-18 was cut off" in caplog.text
        assert "Resuming from" in caplog.text
        assert "checkpoint-15" in caplog.text.split("Resuming from")[1].splitlines()[0]

    def test_without_a_complete_checkpoint_trains_from_the_start(self, train, cut_off, caplog):
        final, out = cut_off
        for checkpoint in out.glob("checkpoint-*"):
            (checkpoint / STATE_FILE).unlink()
        train("out", "--resume_from_checkpoint", out)
        torch.testing.assert_close(load_file(out / "model.safetensors"), final, atol=1e-6, rtol=0)
        assert "starting anew" in caplog.text

    def test_limit_of_checkpoints_counts_complete_ones(self, train, cut_off):
        _, out = cut_off
        # The newest checkpoint, 18, is broken: counted, it would leave room for but one other.
        train("out", "--resume_from_checkpoint", out, "--save_total_limit", 2, "--save_steps", 16, "--max_steps", 16)
        assert {folder.name for folder in out.glob("checkpoint-*")} == {"checkpoint-15", "checkpoint-16"}

    def test_best_checkpoint_that_is_cut_off_is_not_loaded(self, train, rows, write):
        # With the greatest loss for the best, an early checkpoint is the best one.
        best = ("--validation_file", write("validation.csv", rows), "--do_eval", "--eval_strategy", "steps")
        best += ("--eval_steps", 3, "--load_best_model_at_end", "--metric_for_best_model", "eval_loss")
        out = train("out", *best, "--greater_is_better", "True")
        best_checkpoint = Path(json.loads((out / "checkpoint-18" / STATE_FILE).read_text())["best_model_checkpoint"])
        assert best_checkpoint.name != "checkpoint-18"
        last = load_file(out / "checkpoint-18" / "model.safetensors")
        (out / "model.safetensors").unlink()
        halve(best_checkpoint / "model.safetensors")
        train("out", *best, "--greater_is_better", "True", "--resume_from_checkpoint", out)
        torch.testing.assert_close(load_file(out / "model.safetensors"), last, atol=1e-6, rtol=0)

    def test_full_disk_ends_the_run_with_one_line_and_keeps_what_is_complete(self, train, tmp_path):
        with small_disk(tmp_path / "disk", kilobytes=400) as disk:
            with pytest.raises(SystemExit, match=f"^{disk}/out: no space is left on the disk") as error:
                train("disk/out", "--save_steps", 1)
            assert "\n" not in error.value.code
            assert inspect_checkpoint(disk / "out" / "checkpoint-1", STATE_FILE).is_complete
