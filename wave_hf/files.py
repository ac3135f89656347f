# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""Files that commands read and write: classifiers, rows, Markdown tables, and output that is written atomically."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import torch
from datasets import Dataset, load_dataset
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from .configuration_wave import WaveConfig
from .documentation_corpus import load_documentation_corpus
from .modeling_wave import WaveForSequenceClassification

# Classifiers


def load_classifier(model_dir: str) -> tuple[WaveForSequenceClassification, PreTrainedTokenizerBase]:
    """Load a classifier in evaluation mode and its tokenizer, in float32 on the CPU.

    Args:
        model_dir: Folder or Hub id of a `WaveForSequenceClassification` and its tokenizer.

    Raises:
        OSError: A file is missing.
        ValueError: The folder holds another kind of model, weights are missing, or the tokenizer has more tokens than
            the token table has rows.
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
    cached_file(model_dir, "tokenizer.json")  # raises if it is missing, which AutoTokenizer does not
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model, loading = WaveForSequenceClassification.from_pretrained(
        model_dir, dtype=torch.float32, output_loading_info=True
    )
    if loading["missing_keys"]:
        missing = ", ".join(sorted(loading["missing_keys"]))
        raise ValueError(f"{model_dir}: the weights lack {missing}: give the folder of a trained classifier.")
    check_tokenizer_fits(tokenizer, model.config, model_dir)
    return model.eval(), tokenizer


def check_tokenizer_fits(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, name: str) -> None:
    """Check that the token table of a model has a row for every token of a tokenizer.

    Args:
        tokenizer: The tokenizer.
        config: Config of the model.
        name: The model in the message, such as its folder.

    Raises:
        ValueError: The table has too few rows.
    """
    largest_id = max(tokenizer.get_vocab().values())
    if largest_id >= config.vocab_size:
        raise ValueError(
            f"{name}: the tokenizer has ids up to {largest_id}, but the token table has only {config.vocab_size} "
            "rows; use the tokenizer that the model was trained with."
        )


# Rows


def load_file(file: str, cache_dir: str | None = None, streaming: bool = False) -> Any:
    """Load the rows of a csv, json or txt file.

    Args:
        file: Its name; the ending names the format.
        cache_dir: Where to cache the processed file. `None` means the cache of the datasets library.
        streaming: Whether to return an `IterableDataset` that reads the file on the fly.

    Returns:
        A `Dataset` or `IterableDataset` with the columns of the file. In a csv file only an empty cell is a missing
        value: "NA" or "None" may be a text or a label.
    """
    file_format = Path(file).suffix[1:].replace("txt", "text")
    options: dict[str, Any] = {"keep_default_na": False, "na_values": [""]} if file_format == "csv" else {}
    return load_dataset(
        file_format, data_files=file, split="train", cache_dir=cache_dir, streaming=streaming, **options
    )


def load_rows(file: str, columns: Sequence[str]) -> Dataset:
    """Load the rows of a csv or json file in which some columns must be complete.

    Args:
        file: Its name.
        columns: Columns that must have a value in each row.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has another format, or a column or one of its values is missing.
    """
    if Path(file).suffix not in (".csv", ".json"):
        raise ValueError(f"{file} is neither a .csv nor a .json file.")
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file} does not exist.")
    rows = load_file(file)
    for column in columns:
        if column not in rows.column_names or None in rows[column]:
            raise ValueError(f"{file} should have a {column} in each row, in a column named {column!r}.")
    return rows


def load_texts(file: str | None) -> list[str]:
    """Return the texts of a file, see `load_rows`, or for `None` the training texts of the documentation corpus."""
    return list((load_rows(file, ["text"]) if file else load_documentation_corpus()["train"])["text"])


# Output


def markdown_table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown, without a newline at the end."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


@contextmanager
def writing(file: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file to write atomically: it appears, or replaces an older one, when the block ends."""
    unfinished = file.with_suffix(".unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a folder to fill, which appears under its name when the block ends and is removed if the block fails.

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
