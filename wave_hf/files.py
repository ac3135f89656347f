"""What the commands of this package read and write: classifiers, rows, and files that are complete or not there."""

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import torch
from datasets import Dataset, load_dataset
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from .configuration_wave import WaveConfig
from .documentation_corpus import load_documentation_corpus
from .modeling_wave import WaveForSequenceClassification

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".unfinished"
FULL_DISK = os.strerror(errno.ENOSPC)

logger = logging.getLogger(__name__)


def load_classifier(model_dir: str) -> tuple[WaveForSequenceClassification, PreTrainedTokenizerBase]:
    """Load a classifier and its tokenizer, on the CPU.

    Args:
        model_dir: Folder or Hub id of a `WaveForSequenceClassification` and its tokenizer.

    Raises:
        OSError: A file is missing.
        ValueError: The folder does not hold a classifier of this kind, or its tokenizer has ids without a row in the
            token table.
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
    cached_file(model_dir, "tokenizer.json")  # raises unless there is one, as AutoTokenizer would not
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model, loading = WaveForSequenceClassification.from_pretrained(
        model_dir, dtype=torch.float32, output_loading_info=True
    )
    if loading["missing_keys"]:
        missing = ", ".join(sorted(loading["missing_keys"]))
        raise ValueError(f"{model_dir}: the weights lack {missing}: give the folder of a trained classifier.")
    largest_id, rows = max(tokenizer.get_vocab().values()), model.config.vocab_size
    if largest_id >= rows:
        raise ValueError(
            f"{model_dir}: tokenizer.json has ids up to {largest_id}, but the token table only {rows} rows: the "
            "tokenizer belongs to another model."
        )
    return model.eval(), tokenizer


def load_rows(file: str, columns: tuple[str, ...]) -> Dataset:
    """Read the rows of a csv or json file.

    Args:
        file: Its name.
        columns: The columns that must have a value in each row.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is of another kind, or lacks a column or a value in one.
    """
    if Path(file).suffix not in (".csv", ".json"):
        raise ValueError(f"{file} is neither a .csv nor a .json file.")
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file} does not exist.")
    rows = load_dataset(Path(file).suffix[1:], data_files=file, split="train")
    for column in columns:
        if column not in rows.column_names or None in rows[column]:
            raise ValueError(f"{file} should have a {column} in each row, in a column named {column!r}.")
    return rows


def load_texts(file: str | None) -> list[str]:
    """Return the texts of a file (see `load_rows`), or those of the documentation corpus to train on."""
    return list((load_rows(file, ("text",)) if file else load_documentation_corpus()["train"])["text"])


@contextmanager
def writing(file: Path) -> Iterator[TextIO]:
    """Open a text file, in UTF-8, that appears, or takes the place of an older one, when all is written.

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
    """Yield a folder to write to, whose content gets its place when all is written, and is removed if something fails.

    An existing folder is filled from within: it may be a mount point or the working directory, which nothing can
    replace, and its parent may be read-only. What an earlier process that was killed left unfinished is removed.

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
