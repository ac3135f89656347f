"""Input files are checked, and output is written as a whole or not at all."""

import errno
import fcntl
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from builders import save_classifier, tiny_model
from disks import small_disk
from outputs import weights
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification

from wave_hf import WaveForTokenClassification, WaveModel
from wave_hf.files import load_classifier, new_folder, writing


class TestClassifiers:
    def refuse(self, folder, error, message):
        with pytest.raises(error, match=message):
            load_classifier(str(folder))

    def test_are_loaded_with_their_tokenizer_to_be_used(self, tmp_path):
        saved = save_classifier(tmp_path)
        model, tokenizer = load_classifier(str(tmp_path))
        assert not model.training
        torch.testing.assert_close(model.classifier.weight, saved.classifier.weight)
        assert len(tokenizer) == model.config.vocab_size

    def test_other_architecture(self, tmp_path):
        config = BertConfig(
            vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
        )
        BertForSequenceClassification(config).save_pretrained(tmp_path)
        self.refuse(tmp_path, ValueError, "model_type of config.json is 'bert', but should be 'wave_network'")

    @pytest.mark.parametrize("model_class", [WaveModel, WaveForTokenClassification])
    def test_network_with_another_head_or_none(self, model_class, tmp_path):
        save_classifier(tmp_path, model_class=model_class)
        message = f"architecture of config.json is {model_class.__name__}, but should be WaveForSequenceClassification"
        self.refuse(tmp_path, ValueError, message)

    def test_no_tokenizer(self, tmp_path):
        tiny_model().save_pretrained(tmp_path)
        self.refuse(tmp_path, OSError, r"tokenizer\.json")

    @pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
    def test_tokenizer_files_that_hold_something_else(self, tmp_path, name):
        save_classifier(tmp_path)
        (tmp_path / name).write_text('{"a": 1}' if name == "tokenizer.json" else "[1]")
        self.refuse(tmp_path, ValueError, "the files of the tokenizer are damaged")

    def test_weights_of_other_shapes(self, tmp_path):
        save_classifier(tmp_path)
        tensors = weights(tmp_path)
        save_file(tensors | {"classifier.bias": torch.ones(2)}, tmp_path / "model.safetensors", {"format": "pt"})
        self.refuse(tmp_path, ValueError, r"the weights have other shapes than config\.json describes")

    def test_label_names_that_are_a_list(self, tmp_path):
        save_classifier(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": ["sea", "land", "air"]}))
        self.refuse(tmp_path, ValueError, r"id2label is \['sea', 'land', 'air'\], but should map '0'")

    def test_tokenizer_larger_than_the_token_table(self, tmp_path):
        save_classifier(tmp_path)
        tiny_model(vocab_size=9).save_pretrained(tmp_path)
        self.refuse(tmp_path, ValueError, r"the tokenizer has ids up to \d+, but the token table has only 9 rows")


def write_half_a_file(file: Path, error: type[BaseException]) -> None:
    with writing(file) as stream:
        stream.write("half")
        raise error


def write_half_a_folder(folder: Path, error: Exception) -> None:
    with new_folder(folder) as unfinished:
        (unfinished / "file").write_text("half")
        raise error


def write_whole_folder(folder: Path) -> None:
    with new_folder(folder) as unfinished:
        (unfinished / "file").write_text("whole")


def raise_error(error: Exception) -> None:
    raise error


class TestWriting:
    def test_file_is_the_older_one_until_all_is_written(self, tmp_path):
        file = tmp_path / "report.md"
        file.write_text("older")
        with writing(file) as stream:
            stream.write("new")
            assert file.read_text() == "older"
        assert file.read_text() == "new"
        assert list(tmp_path.iterdir()) == [file]

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_file_is_the_older_one_if_the_work_fails(self, tmp_path, error):
        file = tmp_path / "report.md"
        file.write_text("older")
        with pytest.raises(error):
            write_half_a_file(file, error)
        assert file.read_text() == "older"
        assert list(tmp_path.iterdir()) == [file]

    def test_files_whose_names_differ_in_the_ending_alone_can_be_written_at_once(self, tmp_path):
        with writing(tmp_path / "report.md") as markdown, writing(tmp_path / "report.json") as json:
            markdown.write("# Report")
            json.write("{}")
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
            "report.md": "# Report",
            "report.json": "{}",
        }

    def test_full_disk_is_named(self, tmp_path):
        with small_disk(tmp_path / "disk") as disk:
            refused = pytest.raises(OSError, match=r"No space left on device: '.*disk/report\.md'")
            with refused, writing(disk / "report.md") as stream:
                stream.write("x" * 2**20)
            assert list(disk.iterdir()) == []


@contextmanager
def process_that_writes(folder: Path) -> Iterator[multiprocessing.Process]:
    """Start a process that has written half of a new folder, and goes on until it is killed."""

    def write() -> None:
        with new_folder(folder) as unfinished:
            (unfinished / "half").write_text("half")
            ready.set()
            time.sleep(600)

    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=write)
    process.start()
    try:
        assert ready.wait(60)
        yield process
    finally:
        process.kill()
        process.join()


def at_a_symbolic_link(folder: Path) -> Path:
    (folder / "elsewhere").mkdir()
    (folder / "link").symlink_to("elsewhere")
    return folder / "link"


def at_a_symbolic_link_to_a_new_folder(folder: Path) -> Path:
    (folder / "link").symlink_to("elsewhere")
    return folder / "link"


class TestNewFolder:
    def test_appears_with_all_that_was_written(self, tmp_path):
        for folder in (tmp_path / "new", tmp_path / "not" / "there"):
            with new_folder(folder) as unfinished:
                (unfinished / "file").write_text("whole")
                assert not folder.exists()
            assert (folder / "file").read_text() == "whole"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "not"]

    def test_may_be_there_if_it_is_empty(self, tmp_path):
        with new_folder(tmp_path) as unfinished:
            (unfinished / "file").touch()
            (unfinished / "more").mkdir()
            assert not (tmp_path / "file").exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "more"]

    @pytest.mark.parametrize("place", [at_a_symbolic_link, at_a_symbolic_link_to_a_new_folder])
    def test_may_be_a_symbolic_link(self, tmp_path, place: Callable[[Path], Path]):
        link = place(tmp_path)
        write_whole_folder(link)
        assert link.is_symlink()
        assert (tmp_path / "elsewhere" / "file").read_text() == "whole"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link"]

    def test_may_be_the_working_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_whole_folder(Path("."))
        assert os.listdir() == ["file"]

    def test_may_be_a_mount_point(self, tmp_path):
        with small_disk(tmp_path / "volume") as volume:
            (volume / "lost+found").mkdir()
            write_whole_folder(volume)
            assert sorted(file.name for file in volume.iterdir()) == ["file", "lost+found"]

    def test_is_not_there_if_the_work_fails(self, tmp_path):
        with pytest.raises(RuntimeError):
            write_half_a_folder(tmp_path / "new", RuntimeError())
        assert list(tmp_path.iterdir()) == []

    def test_stays_empty_if_the_work_fails(self, tmp_path):
        with pytest.raises(RuntimeError):
            write_half_a_folder(tmp_path, RuntimeError())
        assert list(tmp_path.iterdir()) == []

    def test_is_not_one_that_holds_files(self, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(FileExistsError, match=f"{tmp_path} is not empty"), new_folder(tmp_path):
            pass
        assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]

    @pytest.mark.parametrize("name", ["file", "file/folder", "file/some/folder"])
    def test_is_not_below_a_file(self, tmp_path, name):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(NotADirectoryError, match=r"cannot be a folder, because .*/file is a file"):
            write_half_a_folder(tmp_path / name, RuntimeError())
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.parametrize("exists", [True, False])
    def test_is_refused_while_another_process_writes_it(self, tmp_path, exists):
        folder = tmp_path / "new"
        if exists:
            folder.mkdir()
        with process_that_writes(folder):
            with pytest.raises(BlockingIOError, match="in use by another process"):
                write_half_a_folder(folder, RuntimeError())
            assert (tmp_path / "new").exists() == exists

    @pytest.mark.parametrize("exists", [True, False])
    def test_does_not_hold_what_a_killed_process_left(self, tmp_path, exists):
        folder = tmp_path / "new"
        if exists:
            folder.mkdir()
        with process_that_writes(folder):
            pass
        write_whole_folder(folder)
        assert list(tmp_path.iterdir()) == [folder]
        assert [file.name for file in folder.iterdir()] == ["file"]

    def test_without_locks_nothing_of_another_process_is_removed(self, tmp_path, monkeypatch):
        monkeypatch.setattr(fcntl, "flock", lambda *_: raise_error(OSError(errno.ENOLCK, "No locks available")))
        write_whole_folder(tmp_path / "new")
        with process_that_writes(tmp_path / "other"), pytest.raises(FileExistsError, match="other"):
            write_whole_folder(tmp_path / "other")
        assert (tmp_path / ".other.unfinished" / "other" / "half").exists()

    def test_full_disk_is_named_whatever_a_library_raises(self, tmp_path):
        error = SafetensorError("I/O error: No space left on device (os error 28)")
        with pytest.raises(OSError, match=r"No space left on device: '.*/new'"):
            write_half_a_folder(tmp_path / "new", error)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("save", [torch.save, lambda weights, file: save_file({"weights": weights}, file)])
    def test_disk_that_gets_full_is_named(self, tmp_path, save):
        with small_disk(tmp_path / "disk") as disk:
            refused = pytest.raises(OSError, match=r"No space left on device: '.*/new'")
            with refused, new_folder(disk / "new") as unfinished:
                save(torch.ones(2**20), unfinished / "weights")
            assert list(disk.iterdir()) == []
