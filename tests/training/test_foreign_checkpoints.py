"""Folders beside the checkpoints of a run that it must neither use nor change."""

import errno
import io
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from damage import STATE_FILE, content, write_checkpoint

from wave_hf import WaveConfig, WaveModel, train_tokenizer


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


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
