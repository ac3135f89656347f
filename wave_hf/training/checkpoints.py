# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Finding the checkpoint that a run resumes from, past those that a crash has cut off."""

import json
import logging
import re
import shutil
import zipfile
from pathlib import Path

from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PreTrainedConfig, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

CHECKPOINT = re.compile(r"(checkpoint-|step_|epoch_)(\d+)")
# Fields of a config that do not describe the network.
NOT_OF_THE_NETWORK = {"_name_or_path", "architectures", "auto_map", "dtype", "transformers_version"}

logger = logging.getLogger(__name__)


def find_trainer_checkpoint(args: TrainingArguments) -> str | None:
    """Return the checkpoint that the run resumes from, and set `resume_from_checkpoint` to it."""
    args.resume_from_checkpoint = find_checkpoint(
        args.resume_from_checkpoint, str(args.output_dir), TRAINER_STATE_NAME
    )
    return args.resume_from_checkpoint


def find_checkpoint(name: str | None, run_folder: str, state_file: str) -> str | None:
    """Return the checkpoint to resume from: the named one or, if that is cut off, the last complete one before it.

    Checkpoints of the run that were cut off while being written are removed with a warning: nothing can load them,
    but the rotation of checkpoints and the choice of the best one would count them.

    Args:
        name: A checkpoint, or the folder of a run: its checkpoint of the most steps. None: the run starts anew.
        run_folder: The folder this run writes its checkpoints to.
        state_file: Name of the json file that is written last, which marks a checkpoint complete and holds its
            `global_step`.

    Returns:
        The folder of the checkpoint; `None` if the run starts anew because there is no complete checkpoint.

    Raises:
        SystemExit: The folder does not exist, or its checkpoints have no optimizer.
    """
    if name is None:
        return None
    if not Path(name).is_dir():
        raise SystemExit(f"--resume_from_checkpoint: there is no folder {name}")
    whole = [folder for folder in _checkpoints_up_to(Path(name)) if not _is_cut_off(folder, state_file)]
    whole.sort(key=lambda folder: json.loads((folder / state_file).read_text())["global_step"])
    resumable = [folder for folder in whole if _has_any(folder, "optimizer*", "global_step*")]
    if whole and not resumable:
        raise SystemExit(
            f"--resume_from_checkpoint: {whole[-1]} has no optimizer state (--save_only_model writes none), which "
            "resuming needs; to train its weights further, pass it as --model_name_or_path with another --output_dir"
        )
    if PartialState().is_main_process:
        _remove_incomplete(Path(run_folder), state_file)
    if not resumable:
        logger.warning(f"{name} holds no complete checkpoint: starting anew")
        return None
    logger.info(f"Resuming from {resumable[-1]}")
    return str(resumable[-1])


def list_checkpoints(run_folder: Path) -> list[Path]:
    """Return the checkpoints of a run, in no order; none if there is no such folder."""
    return [path for path in run_folder.glob("*") if CHECKPOINT.fullmatch(path.name)]


def _checkpoints_up_to(folder: Path) -> list[Path]:
    """Return the checkpoints of a run; of a checkpoint, those of its run and kind up to itself."""
    named = CHECKPOINT.fullmatch(folder.name)
    if not named:
        return list_checkpoints(folder)
    others = ((path, CHECKPOINT.fullmatch(path.name)) for path in list_checkpoints(folder.parent))
    return [path for path, other in others if other and other[1] == named[1] and int(other[2]) <= int(named[2])]


def _is_cut_off(checkpoint: Path, state_file: str) -> bool:
    """Return whether a checkpoint lacks its state file or its weights, or one of its files is incomplete."""
    try:
        json.loads((checkpoint / state_file).read_text())
        for file in checkpoint.rglob("*"):
            if file.suffix == ".safetensors":
                safe_open(file, "pt")
            elif file.suffix in (".pt", ".pth", ".bin") and not zipfile.is_zipfile(file):
                return True  # torch.save writes zip files, whose directory is written last
    except (OSError, ValueError, SafetensorError):
        return True
    return not _has_any(checkpoint, "*model*", "global_step*")


def _has_any(checkpoint: Path, *patterns: str) -> bool:
    # Sharded weights and optimizers are folders; DeepSpeed has one folder, global_stepN, for both.
    return any(any(checkpoint.glob(pattern)) for pattern in patterns)


def _remove_incomplete(run_folder: Path, state_file: str) -> None:
    for checkpoint in list_checkpoints(run_folder):
        if _is_cut_off(checkpoint, state_file):
            logger.warning(f"{checkpoint} was cut off while being written: it is removed")
            shutil.rmtree(checkpoint)


def check_same_network(config: PreTrainedConfig, checkpoint: str | None) -> None:
    """Refuse to resume a run with another config, and name the field that differs."""
    if checkpoint is None or not (Path(checkpoint) / "config.json").exists():
        return
    wanted, trained = config.to_dict(), AutoConfig.from_pretrained(checkpoint).to_dict()
    for name in sorted(wanted.keys() - NOT_OF_THE_NETWORK):
        if wanted[name] != trained.get(name):
            raise SystemExit(
                f"--resume_from_checkpoint: {checkpoint} was trained with {name}={trained.get(name)!r}, "
                f"but this run has {name}={wanted[name]!r}"
            )
