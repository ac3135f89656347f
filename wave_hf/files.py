"""What the commands of this package read and write: classifiers, rows, and files that are complete or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import torch
from datasets import Dataset, load_dataset
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from .configuration_wave import WaveConfig
from .documentation_corpus import load_documentation_corpus
from .modeling_wave import WaveForSequenceClassification


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
    """Open a text file, in UTF-8, that appears, or takes the place of an older one, when all is written."""
    unfinished = file.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8", newline="") as stream:
        yield stream
    os.replace(unfinished, file)


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a folder to write to, which gets its name when all is written, and is removed if something fails.

    Raises:
        FileExistsError: The folder exists and is not empty.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: give the name of a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as unfinished:
        complete = Path(unfinished, folder.name)
        complete.mkdir()
        yield complete
        complete.replace(folder)
