"""Whatever lies in the folder of a run: no file is lost, and the end is a checkpoint, a new start or one line."""

import itertools
import json
import random
from pathlib import Path

import pytest
import torch
from damage import STATE_FILE, content, empty, flip_a_bit, halve
from safetensors.torch import save_file

from wave_hf.training.checkpoints import find_checkpoint

from .cases import seeds

pytestmark = pytest.mark.slow

TRAINER = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "config.json", STATE_FILE)
LOOP = ("model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl", "progress.json")
OTHERS = ("tokenizer.json", "modeling_wave.py", "training_args.bin", "notes.txt", "notes.bin", "notes.json")


def fill(folder: Path, rng: random.Random) -> None:
    """Write some files of a checkpoint, of either script or none, and damage some of them."""
    folder.mkdir()
    mixed = rng.sample(TRAINER + LOOP + OTHERS, rng.randrange(9))
    for name in rng.choice([TRAINER, LOOP, mixed]):
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


@seeds(100)
def test_is_safe(tmp_path, seed):
    rng = random.Random(seed)
    kinds = ["checkpoint-", "step_", "epoch_", "_incomplete-checkpoint-", "notes-"]
    for kind, number in rng.sample(list(itertools.product(kinds, range(1, 4))), rng.randrange(1, 5)):
        fill(tmp_path / f"{kind}{number}", rng)
    files = sorted(content(tmp_path).values())
    name = rng.choice([tmp_path, *sorted(tmp_path.iterdir())])
    try:
        found = find_checkpoint(str(name), str(tmp_path), rng.choice([STATE_FILE, "progress.json"]))
        assert found is None or (Path(found) / "model.safetensors").exists()
    except SystemExit as end:
        line = str(end.code)
        assert "\n" not in line
    assert sorted(content(tmp_path).values()) == files
