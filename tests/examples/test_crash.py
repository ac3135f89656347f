"""Tests of runs that are killed again and again, and resumed: they end as if nothing had happened."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import run_classification
import run_glue_no_trainer
from outputs import assert_equal_weights

TIME_LIMIT = 120  # seconds that a process may take until its next checkpoint, or to end


@dataclass
class Checkpoints:
    """The checkpoints of a run: how their names begin, and what file ends one."""

    folder: Path
    prefix: str
    last_file: str

    def newest(self) -> int:
        """Return the step of the newest checkpoint, which need not be complete; 0 if there is none."""
        return max(
            (int(path.name.removeprefix(self.prefix)) for path in self.folder.glob(f"{self.prefix}*")), default=0
        )

    def reach(self, step: int) -> bool:
        """Return whether the run has come to this step."""
        return self.newest() >= step

    def are_written_at(self, step: int) -> bool:
        """Return whether the run has come to this step, and its newest checkpoint is not complete."""
        return self.reach(step) and not (self.folder / f"{self.prefix}{self.newest()}" / self.last_file).exists()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    limit = time.monotonic() + TIME_LIMIT
    while not condition():
        assert process.poll() is None, f"ended before it could be killed: {process.stderr.read()}"
        assert time.monotonic() < limit
        time.sleep(0.0005)


def kill(process: subprocess.Popen) -> None:
    process.kill()
    assert process.wait(TIME_LIMIT) == -signal.SIGKILL, "ended before it could be killed"


def kill_while(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Kill the process while the condition holds: it is stopped, so that the condition can be looked at again."""
    while True:
        wait_for(condition, process)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if condition():
            return kill(process)
        process.send_signal(signal.SIGCONT)


SCRIPTS = pytest.mark.parametrize(
    ("script", "options", "prefix", "last_file"),
    [
        # Trainer also removes checkpoints.
        (
            run_classification,
            {"do_train": True, "save_steps": 1, "save_total_limit": 2},
            "checkpoint-",
            "trainer_state.json",
        ),
        (run_glue_no_trainer, {"checkpointing_steps": 1}, "step_", "progress.json"),
    ],
    ids=["run_classification", "run_glue_no_trainer"],
)


@pytest.mark.slow
@SCRIPTS
def test_killed_runs_end_as_the_uninterrupted_one(
    start_process: Callable[..., subprocess.Popen],
    run_process: Callable[..., subprocess.CompletedProcess],
    command_line: Callable[..., None],
    small_config: str,
    train_file: str,
    tmp_path: Path,
    script: ModuleType,
    options: dict[str, Any],
    prefix: str,
    last_file: str,
):
    options = options | {
        "train_file": train_file,
        "validation_file": train_file,
        "config_name": small_config,
        "learning_rate": 0.01,
    }
    options |= {"config_overrides": "hidden_dropout_prob=0.2,token_dropout_prob=0.2", "num_train_epochs": 3}
    whole, out = tmp_path / "whole", tmp_path / "killed"
    resumed = options | {"output_dir": out, "resume_from_checkpoint": out}
    checkpoints = Checkpoints(out, prefix, last_file)

    # Of 27 steps, 9 in each epoch. Steps go on a little between the sight of a checkpoint and the kill.
    kill_while(partial(checkpoints.are_written_at, 1), start_process(script.__file__, output_dir=out, **options))
    process = start_process(script.__file__, **resumed)
    wait_for(partial(checkpoints.reach, 4), process)
    time.sleep(0.02)
    kill(process)
    kill_while(partial(checkpoints.are_written_at, 16), start_process(script.__file__, **resumed))
    ended = run_process(script.__file__, **resumed)
    assert ended.returncode == 0, ended.stderr
    assert "Resuming from" in ended.stdout
    assert "was cut off while being written" in ended.stdout

    command_line(output_dir=whole, **options)
    script.main()
    assert_equal_weights(out, whole)


@pytest.mark.slow
@SCRIPTS
def test_running_run_keeps_its_folder_until_it_is_killed(
    start_process: Callable[..., subprocess.Popen],
    command_line: Callable[..., None],
    small_config: str,
    train_file: str,
    tmp_path: Path,
    script: ModuleType,
    options: dict[str, Any],
    prefix: str,
    last_file: str,
):
    out = tmp_path / "out"
    files = {"train_file": train_file, "validation_file": train_file, "config_name": small_config}
    options = options | files | {"output_dir": out}
    process = start_process(script.__file__, **options)
    wait_for(partial(Checkpoints(out, prefix, last_file).reach, 2), process)
    process.send_signal(signal.SIGSTOP)
    before = sorted(out.rglob("*"))
    for more in ({}, {"resume_from_checkpoint": out}):
        command_line(**options, **more)
        with pytest.raises(SystemExit, match=f"--output_dir: {out} is in use by another process"):
            script.main()
    assert sorted(out.rglob("*")) == before
    kill(process)
    script.main()
    assert (out / "model.safetensors").exists()
