# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Finding the checkpoint that a run resumes from, past those that a crash has cut off."""

import errno
import filecmp
import json
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from typing import BinaryIO

from accelerate import PartialState
from accelerate.utils import load
from safetensors import SafetensorError, safe_open
from transformers import TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from .errors import exit_on_error
from .output_folder import claim_output_folder

CHECKPOINT = re.compile(r"(checkpoint-|step_|epoch_)(\d+)")
# The files of a checkpoint. Sharded weights and optimizers are folders; DeepSpeed has one, global_stepN, for both.
WEIGHTS = ("model*.safetensors", "adapter_model.*", "pytorch_model*", "global_step*")
OPTIMIZER = ("optimizer*", "global_step*")
RANDOM_STATES = ("rng_state*", "random_states*")
STATES = (*OPTIMIZER, *RANDOM_STATES, "scheduler*", "scaler*", "sampler*")
TRAINING = (*STATES, "training_args.bin", "*.unfinished")
TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "chat_template*")
CONFIG = ("config.json", "generation_config.json", "model*.index.json", "configuration_*.py", "modeling_*.py")
# The code that travels with the models of this package.
CODE = tuple(file.name for file in Path(__file__).parents[1].glob("*.py"))

logger = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """A folder that is named like a checkpoint.

    Args:
        folder: The folder.
        step: The step of a complete checkpoint.
        damage: What proves that it is a checkpoint of this script, but was cut off or damaged.
        doubt: Why it may be something else than a checkpoint of this script.
    """

    folder: Path
    step: int = 0
    damage: str = ""
    doubt: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether all files are there, except perhaps an optimizer."""
        return not (self.damage or self.doubt)


def find_trainer_checkpoint(args: TrainingArguments) -> str | None:
    """Return the checkpoint that the run resumes from, and set `resume_from_checkpoint` to it.

    Raises:
        SystemExit: See `find_checkpoint`; or `save_total_limit` would remove a folder that is no checkpoint.
    """
    args.resume_from_checkpoint = find_checkpoint(
        args.resume_from_checkpoint, str(args.output_dir), TRAINER_STATE_NAME
    )
    if args.save_total_limit and PartialState().is_main_process:
        # Trainer removes whatever is named like a checkpoint.
        for folder in Path(str(args.output_dir)).glob("checkpoint-*"):
            is_checkpoint = CHECKPOINT.fullmatch(folder.name) and (folder / TRAINER_STATE_NAME).exists()
            if not folder.is_dir() or is_checkpoint:
                continue
            if args.resume_from_checkpoint is None or not _is_half_removed(folder, Path(args.resume_from_checkpoint)):
                raise SystemExit(f"--save_total_limit would remove {folder}, which is no checkpoint: rename it")
            _set_aside_damaged([Checkpoint(folder, damage=f"no {TRAINER_STATE_NAME}")])
    return args.resume_from_checkpoint


def _is_half_removed(folder: Path, later: Path) -> bool:
    """Return whether a kill left a folder behind while Trainer removed it, which it does with older checkpoints.

    What is left may look like a model of the user, but except for the weights its files are those of the checkpoint
    that the run resumes from.
    """
    if folder not in _checkpoints_up_to(later):
        return False
    names = [path.name for path in folder.iterdir() if not _matches(path.name, WEIGHTS)]
    return len(filecmp.cmpfiles(folder, later, names, shallow=False)[0]) == len(names)


def find_checkpoint(name: str | None, run_folder: str, state_file: str) -> str | None:
    """Return the checkpoint to resume from: the named one or, if that is cut off, the last complete one before it.

    Checkpoints of the run that were cut off while being written, or are damaged, are set aside with a warning: nothing
    can load them, but the rotation of checkpoints and the choice of the best one would count them. Folders that may be
    something else are skipped with a warning.

    Args:
        name: A checkpoint, or the folder of a run: its checkpoint of the most steps. None: the run starts anew.
        run_folder: The folder this run writes its checkpoints to.
        state_file: Name of the json file that is written last, which marks a checkpoint complete and holds its
            `global_step`.

    Returns:
        The folder of the checkpoint; `None` if the run starts anew because there is no complete checkpoint.

    Raises:
        SystemExit: The folder does not exist, a file cannot be read, the named checkpoint may be something else, or
            the checkpoints have no optimizer.
    """
    if name is None:
        return None
    claim_output_folder(Path(run_folder))
    if not Path(name).is_dir():
        raise SystemExit(f"--resume_from_checkpoint: there is no folder {name}")
    candidates, of_run = _checkpoints_up_to(Path(name)), list_checkpoints(Path(run_folder))
    with exit_on_error("--resume_from_checkpoint"):
        inspected = {folder: inspect_checkpoint(folder, state_file) for folder in {*candidates, *of_run}}
        if PartialState().is_main_process:
            _set_aside_damaged([inspected[folder] for folder in of_run])
    if Path(name) in inspected and inspected[Path(name)].doubt:
        raise SystemExit(f"--resume_from_checkpoint: {name} {inspected[Path(name)].doubt}")
    complete = [inspected[folder] for folder in candidates if inspected[folder].is_complete]
    whole = [checkpoint.folder for checkpoint in sorted(complete, key=lambda checkpoint: checkpoint.step)]
    resumable = [folder for folder in whole if _has_any(folder, OPTIMIZER)]
    if whole and not resumable:
        raise SystemExit(
            f"--resume_from_checkpoint: {whole[-1]} has no optimizer state (--save_only_model writes none), which "
            "resuming needs; to train its weights further, pass it as --model_name_or_path with another --output_dir"
        )
    if not resumable:
        logger.warning(f"{name} holds no complete checkpoint: starting anew")
        return None
    logger.info(f"Resuming from {resumable[-1]}")
    return str(resumable[-1])


def list_checkpoints(run_folder: Path) -> list[Path]:
    """Return the checkpoints of a run, in no order; none if there is no such folder."""
    return [path for path in run_folder.glob("*") if CHECKPOINT.fullmatch(path.name) and not path.is_file()]


def _checkpoints_up_to(folder: Path) -> list[Path]:
    """Return the checkpoints of a run; of a checkpoint, those of its run and kind up to itself."""
    named = CHECKPOINT.fullmatch(folder.name)
    if not named:
        return list_checkpoints(folder)
    others = ((path, CHECKPOINT.fullmatch(path.name)) for path in list_checkpoints(folder.parent))
    return [path for path, other in others if other and other[1] == named[1] and int(other[2]) <= int(named[2])]


def _set_aside_damaged(checkpoints: Iterable[Checkpoint]) -> None:
    """Rename the damaged checkpoints, and warn of them and of the folders that are skipped."""
    for checkpoint in checkpoints:
        folder = checkpoint.folder
        if checkpoint.damage:
            # A name that the rotation does not match, and that Trainer does not push to the Hub.
            names = (folder.with_name(f"_incomplete-{folder.name}-{number}") for number in count(1))
            aside = folder.rename(next(name for name in names if not name.exists()))
            logger.warning(
                f"{folder} was cut off while being written, or damaged later ({checkpoint.damage}): it is now {aside}"
            )
        elif checkpoint.doubt:
            logger.warning(f"{folder} is skipped: it {checkpoint.doubt}")


def inspect_checkpoint(folder: Path, state_file: str) -> Checkpoint:
    """Return whether a folder is a checkpoint of the script whose checkpoints have this state file, and complete.

    Raises:
        OSError: A file cannot be read; that proves nothing.
    """
    try:
        is_written = _has_any(folder, [state_file])
        return _inspect_with_state(folder, state_file) if is_written else _inspect_without_state(folder, state_file)
    except FileNotFoundError:  # the main process has just set it aside, or a link leads nowhere
        return Checkpoint(folder, doubt="has files that disappeared")


def _inspect_with_state(folder: Path, state_file: str) -> Checkpoint:
    """Return whether the parts beside the state file, which is written last, are still there and whole."""
    try:
        state = json.loads((folder / state_file).read_text(encoding="utf-8"))
    except ValueError:
        return Checkpoint(folder, damage=state_file)
    if not isinstance(state, dict) or not isinstance(state.get("global_step"), int):
        return Checkpoint(folder, doubt=f"has a {state_file} without global_step")
    damage = find_damage(folder)
    if not _has_any(folder, WEIGHTS):
        damage.append("no weights")
    # Without random states a resumed run would end with other weights.
    if _has_any(folder, OPTIMIZER) and not _has_any(folder, RANDOM_STATES):
        damage.append("no random states")
    return Checkpoint(folder, state["global_step"], damage=", ".join(damage))


def _inspect_without_state(folder: Path, state_file: str) -> Checkpoint:
    """Return whether the checkpoint was cut off before the state file, which is written last, or is something else."""
    prefixes = ("checkpoint-",) if state_file == TRAINER_STATE_NAME else ("step_", "epoch_")
    known = (*WEIGHTS, *TRAINING, *TOKENIZER, *CONFIG, *CODE)
    foreign = [path.name for path in folder.iterdir() if not _matches(path.name, known)]
    if foreign or not folder.name.startswith(prefixes):
        return Checkpoint(folder, doubt=f"has no {state_file}" + (f", but {min(foreign)}" if foreign else ""))
    is_model = all(_has_any(folder, part) for part in (WEIGHTS, TOKENIZER, CONFIG)) and not find_damage(folder)
    if is_model and not _has_any(folder, TRAINING):
        return Checkpoint(folder, doubt=f"has no {state_file}, but a model")
    return Checkpoint(folder, damage=f"no {state_file}")


def find_damage(checkpoint: Path) -> list[str]:
    """Return the names of weights and states that are cut off or damaged; other files are not looked into.

    Raises:
        OSError: A file cannot be read.
    """
    parts = [path for path in sorted(checkpoint.iterdir()) if _matches(path.name, (*WEIGHTS, *STATES))]
    files = [file for part in parts for file in ([part] if part.is_file() else _files_below(part))]
    return [str(file.relative_to(checkpoint)) for file in files if _is_damaged(file)]


def _files_below(folder: Path) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        raise error

    for parent, _, names in os.walk(folder, onerror=stop):
        yield from (Path(parent, name) for name in names)


def _is_damaged(file: Path) -> bool:
    # The libraries call a file damaged that they may not read; this raises an OSError.
    with file.open("rb") as stream:
        if file.suffix in (".bin", ".pkl", ".pt", ".pth"):
            return _is_damaged_archive(stream)
        if file.suffix == ".safetensors":
            try:
                safe_open(file, "pt")
            except SafetensorError:
                return True
    return False


def _is_damaged_archive(stream: BinaryIO) -> bool:
    """Return whether a file of torch.save is damaged: a zip archive, whose checksums torch.load does not compare."""
    try:
        with zipfile.ZipFile(stream) as archive:
            if archive.testzip() is not None:
                return True
    except Exception as error:  # of many kinds; a damaged archive may also send it to a negative offset, EINVAL
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        return True
    stream.seek(0)
    try:
        load(stream, map_location="meta")
    except (NotImplementedError, pickle.UnpicklingError):
        return False  # whole, but not only common tensors
    except (RuntimeError, ValueError):
        return True  # damage that zipfile does not mind
    return False


def _has_any(checkpoint: Path, patterns: Iterable[str]) -> bool:
    return any(_matches(path.name, patterns) for path in checkpoint.iterdir())


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
