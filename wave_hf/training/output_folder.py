# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""The folder that a run writes to: one run at a time, from its start to the end of its process."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState

from ..files import UNFINISHED, lock_folder, make_folder, unlock


@dataclass
class Claim:
    """A folder that belongs to the run of this process.

    Args:
        lock: Its lock, see `lock_folder`.
        made: The folders that were made for it, the deepest first.
    """

    lock: int | None
    made: list[Path]


CLAIMS: dict[Path, Claim] = {}


def claim_output_folder(folder: Path) -> None:
    """Make the output folder if it does not exist, and keep other runs out of it until this process ends.

    The main process claims it for all processes of a run. A process may claim a folder again for its next run.

    Raises:
        SystemExit: The folder cannot be made or written, or another run is writing to it.
    """
    folder = folder.resolve()
    if folder in CLAIMS or not PartialState().is_main_process:
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        make_folder(folder)
        CLAIMS[folder] = Claim(lock_folder(folder), made)
        # What a killed run has left.
        for file in folder.glob(f".*{UNFINISHED}"):
            if file.is_file():
                file.unlink()
    except OSError as error:
        raise SystemExit(f"--output_dir: {error}") from error


def release_output_folders() -> None:
    """Give up all claims, and remove the folders that were made for them if they are still empty."""
    while CLAIMS:
        _, claim = CLAIMS.popitem()
        unlock(claim.lock)
        with suppress(OSError):
            for folder in claim.made:
                folder.rmdir()


def _close_locks() -> None:
    for claim in CLAIMS.values():
        unlock(claim.lock)
    CLAIMS.clear()


if hasattr(os, "register_at_fork"):
    # A data loader's worker, which may outlive a killed run for a while, must not hold the lock.
    os.register_at_fork(after_in_child=_close_locks)
