"""A run has its output folder for itself, and leaves none that it wrote nothing to."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import run_classification
import run_glue_no_trainer

from wave_hf.training.errors import exit_all_ranks
from wave_hf.training.output_folder import claim_output_folder, release_output_folders


@pytest.fixture(autouse=True)
def no_claims() -> Iterator[None]:
    yield
    release_output_folders()


@contextmanager
def process_that_claims(folder: Path, with_worker: bool = False) -> Iterator[multiprocessing.Process]:
    """Start a process that claims a folder, may start a worker that outlives it, and goes on until it is killed."""

    def claim() -> None:
        claim_output_folder(folder)
        if with_worker and os.fork() == 0:
            worker.value = os.getpid()
        ready.set()
        time.sleep(600)

    context = multiprocessing.get_context("fork")
    ready, worker = context.Event(), context.Value("i", 0)
    process = context.Process(target=claim)
    process.start()
    try:
        assert ready.wait(60)
        yield process
    finally:
        process.kill()
        process.join()
        if worker.value:
            os.kill(worker.value, 9)


def refuse(folder: Path) -> str:
    with pytest.raises(SystemExit) as error:
        claim_output_folder(folder)
    assert "\n" not in error.value.code
    return error.value.code


class TestTwoProcesses:
    @pytest.mark.parametrize("exists", [True, False])
    def test_second_one_is_refused(self, tmp_path, exists):
        folder = tmp_path / "out"
        if exists:
            folder.mkdir()
        with process_that_claims(folder):
            assert (
                refuse(folder)
                == f"--output_dir: {folder} is in use by another process: choose another folder, or wait."
            )
            refuse(folder / ".." / "out")

    def test_folder_is_free_when_the_first_one_was_killed(self, tmp_path):
        with process_that_claims(tmp_path / "out", with_worker=True) as process:
            process.kill()
            process.join()
            claim_output_folder(tmp_path / "out")
            assert list((tmp_path / "out").iterdir()) == []

    def test_folders_beside_and_below_are_free(self, tmp_path):
        with process_that_claims(tmp_path / "out"):
            for folder in (tmp_path, tmp_path / "other", tmp_path / "out" / "below"):
                claim_output_folder(folder)


class TestClaim:
    def test_same_process_may_claim_it_again(self, tmp_path):
        claim_output_folder(tmp_path / "out")
        claim_output_folder(tmp_path / "out")

    def test_leftovers_of_a_killed_process_are_removed(self, tmp_path):
        (tmp_path / ".report.md.42.unfinished").write_text("half")
        (tmp_path / "report.md").write_text("whole")
        (tmp_path / ".export.unfinished").mkdir()  # of an export to a folder below, which may be running
        claim_output_folder(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".export.unfinished", "report.md"]

    @pytest.mark.parametrize("name", ["file", "file/out", "file/some/out"])
    def test_folder_below_a_file_is_refused(self, tmp_path, name):
        (tmp_path / "file").write_text("mine")
        assert "cannot be a folder, because" in refuse(tmp_path / name)
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.parametrize("name", ["out", "some/out"])
    def test_empty_folder_is_removed_if_the_run_ends_before_it_begins(self, tmp_path, name):
        def run() -> None:
            with exit_all_ranks():
                claim_output_folder(tmp_path / name)
                raise SystemExit("no data")

        with pytest.raises(SystemExit, match="no data"):
            run()
        assert list(tmp_path.iterdir()) == []

    def test_folder_that_was_there_stays(self, tmp_path):
        (tmp_path / "out").mkdir()
        claim_output_folder(tmp_path / "out")
        release_output_folders()
        assert (tmp_path / "out").is_dir()

    def test_folder_with_files_stays(self, tmp_path):
        claim_output_folder(tmp_path / "some" / "out")
        (tmp_path / "some" / "out" / "file").touch()
        release_output_folders()
        assert (tmp_path / "some" / "out" / "file").exists()


@pytest.mark.parametrize(
    ("script", "options"),
    [(run_classification, {"do_train": True, "use_cpu": True}), (run_glue_no_trainer, {})],
    ids=["run_classification", "run_glue_no_trainer"],
)
class TestScripts:
    def test_refuse_a_folder_below_a_file(self, script, options, command_line, train_file, tmp_path):
        command_line(**options, train_file=train_file, output_dir=f"{train_file}/out")
        with pytest.raises(SystemExit, match=f"^--output_dir: .*{train_file} is a file") as error:
            script.main()
        assert "\n" not in error.value.code

    def test_leave_no_folder_if_the_data_is_missing(self, script, options, command_line, tmp_path):
        command_line(**options, train_file=tmp_path / "nowhere.csv", output_dir=tmp_path / "out")
        with pytest.raises(SystemExit, match="nowhere"):
            script.main()
        assert not (tmp_path / "out").exists()


def test_empty_name_is_refused(command_line):
    command_line("--do_train", "--use_cpu", "--output_dir", "")
    with pytest.raises(SystemExit, match="--output_dir is empty"):
        run_classification.main()
