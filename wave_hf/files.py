# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Files that commands read and write: classifiers, and output that is written atomically."""

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, TextIO

import torch
from transformers import PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from .configuration_wave import WaveConfig
from .modeling_wave import WaveForSequenceClassification
from .tokenization import check_tokenizer_fits, load_saved_tokenizer

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".unfinished"
MISMATCHED_SIZES = "ignore_mismatched_sizes"  # in the message of transformers
FULL_DISK = os.strerror(errno.ENOSPC)

logger = logging.getLogger(__name__)


# Classifiers


def load_classifier(model_dir: str) -> tuple[WaveForSequenceClassification, PreTrainedTokenizerBase]:
    """Load a classifier in evaluation mode and its tokenizer, in float32 on the CPU.

    Args:
        model_dir: Folder or Hub id of a `WaveForSequenceClassification` and its tokenizer.

    Raises:
        OSError: A file is missing.
        ValueError: The folder holds another kind of model, weights are missing or have other shapes, the tokenizer is
            damaged, or it has more tokens than the token table has rows.
    """
    config, _ = PreTrainedConfig.get_config_dict(model_dir)
    if not config:
        raise FileNotFoundError(f"{model_dir} has no config.json: give the folder of a trained classifier.")
    model_type = config.get("model_type")
    if model_type != WaveConfig.model_type:
        raise ValueError(
            f"{model_dir}: the model_type of config.json is {model_type!r}, but should be {WaveConfig.model_type!r}."
        )
    head = WaveForSequenceClassification.__name__
    architecture = (config.get("architectures") or [head])[0]
    if architecture != head:
        raise ValueError(f"{model_dir}: the architecture of config.json is {architecture}, but should be {head}.")
    check_label_names(config.get("id2label"))
    cached_file(model_dir, "tokenizer.json")  # raises if it is missing, which AutoTokenizer does not
    tokenizer = load_saved_tokenizer(model_dir)
    try:
        model, loading = WaveForSequenceClassification.from_pretrained(
            model_dir, dtype=torch.float32, output_loading_info=True
        )
    except RuntimeError as error:
        if MISMATCHED_SIZES not in str(error):
            raise
        raise ValueError(f"{model_dir}: the weights have other shapes than config.json describes.") from error
    if loading["missing_keys"]:
        missing = ", ".join(sorted(loading["missing_keys"]))
        raise ValueError(f"{model_dir}: the weights lack {missing}: give the folder of a trained classifier.")
    check_tokenizer_fits(tokenizer, model.config, model_dir)
    return model.eval(), tokenizer


def check_label_names(id2label: Any) -> None:
    """Raise ValueError unless `id2label` of a config.json maps the ids from 0 on to names, or is missing."""
    if id2label is None:
        return
    if not isinstance(id2label, dict) or sorted(id2label) != sorted(map(str, range(len(id2label)))):
        raise ValueError(f"id2label is {short_repr(id2label)}, but should map '0', '1' and so on to names")


# Output


@contextmanager
def writing(file: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file to write atomically: it appears, or replaces an older one, when the block ends.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.unfinished")
    try:
        with naming_full_disk(file):
            with unfinished.open("w", encoding="utf-8", newline="") as stream:
                yield stream
            unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a folder to fill, whose content moves into place when the block ends and is removed if the block fails.

    An existing folder is filled from within: it may be a mount point or the working directory, which cannot be
    replaced, and its parent may be read-only. Unfinished files of an earlier process that was killed are removed.

    Raises:
        FileExistsError: The folder exists and is not empty.
        OSError: The folder cannot be written, or another process is writing it; this is raised before the work. Or the
            disk is full.
    """
    target = Path(folder).resolve()
    exists = target.exists()
    unfinished = target / UNFINISHED if exists else target.with_name(f".{target.name}{UNFINISHED}")
    make_folder(target if exists else target.parent)
    # A disk that is mounted may bring a folder lost+found along.
    if exists and any(path.name not in (UNFINISHED, "lost+found") for path in target.iterdir()):
        raise FileExistsError(f"{folder} is not empty: give the name of a new folder.")
    unfinished.mkdir(exist_ok=True)
    lock = lock_folder(unfinished)
    complete = unfinished / target.name
    if lock is not None:
        shutil.rmtree(complete, ignore_errors=True)
    complete.mkdir()
    try:
        with naming_full_disk(target):
            yield complete
            if exists:
                for path in complete.iterdir():
                    path.replace(target / path.name)
            else:
                complete.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        unlock(lock)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, if they do not exist.

    Raises:
        NotADirectoryError: It, or one of its parents, is a file.
        OSError: It cannot be made.
    """
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"{folder} cannot be a folder, because {path} is a file.")
    folder.mkdir(parents=True, exist_ok=True)


def lock_folder(folder: Path) -> int | None:
    """Lock a folder until `unlock`, or the end of this process: a process that is killed leaves no lock behind.

    Returns:
        The file descriptor of the lock; `None` on Windows and on network file systems that have no such locks.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The process that has just released the lock may have removed the folder.
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise FileNotFoundError
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        raise BlockingIOError(f"{folder} is in use by another process: choose another folder, or wait.") from None
    except OSError:
        os.close(descriptor)
        logger.warning(f"{folder} is on a file system without locks: let no other process write to it")
        return None
    return descriptor


def unlock(lock: int | None) -> None:
    """Release what `lock_folder` returned."""
    if lock is not None:
        os.close(lock)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn the errors that libraries raise on a full disk, not all of which name the reason, into one that does.

    Raises:
        OSError: The disk that `path` is to be written to is full.
    """
    try:
        yield
    except Exception as error:
        folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
        # torch says only that a write failed.
        if FULL_DISK in str(error) or (isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 2**16):
            raise OSError(errno.ENOSPC, FULL_DISK, str(path)) from error
        raise


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS, the output of `sha256sum` for all files of the folder."""
    files = sorted(folder.iterdir())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
