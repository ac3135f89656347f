"""The folder of a run with checkpoints, and the search for the one to resume from."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damage import STATE_FILE, write_checkpoint

from wave_hf.training.checkpoints import find_checkpoint


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
