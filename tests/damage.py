"""Files and folders as a crash or a damaged disk leaves them."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

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
    """Keep the first half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    """Keep nothing of a file."""
    file.write_bytes(b"")


def flip_a_bit(file: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def content(folder: Path) -> dict[str, bytes]:
    """Return the content of all files of a folder by their names."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
